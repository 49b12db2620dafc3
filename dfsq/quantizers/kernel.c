/* Rounds n pixels, float [n][channels], to the nearest points: lookup.py and error_feedback.py say what and why.
 *
 * All loops that matter run over LANES or PIXELS values, numbers that the compiler knows: it makes vector instructions of
 * them, whatever the processor has. What they need stays in the first-level cache.
 */
#include <stdlib.h>

#define LANES 16
#define PIXELS 64

typedef struct {
    long channels, points, bins;
    const float *shift, *spread;            /* per channel */
    const float *edges, *levels;            /* [points - 1][channels], [points][channels]; NULL: look up in the table */
    const float *table;                     /* [channels][bins], the level of every bin */
    const int *order;                       /* channels as they are rounded */
    const float *shares;                    /* [channels][channels] in order, or NULL: no error feedback */
} Rounding;

static float look_up(const Rounding *r, long channel, float normalized) {
    const float half = (float)(r->bins / 2);
    const float within = normalized < -half ? -half : normalized > half ? half : normalized;
    const long toward_zero = (long)within, bin = toward_zero - (within < toward_zero) + r->bins / 2;
    return r->table[channel * r->bins + (bin < r->bins ? bin : r->bins - 1)];
}

/* One pixel, LANES channels from the given one on. */
static void round_lanes(const Rounding *r, long channel, const float *x, float *out) {
    const float half = (float)(r->bins / 2), *shift = r->shift + channel, *spread = r->spread + channel;
    float normalized[LANES], result[LANES];
#pragma omp simd
    for (int l = 0; l < LANES; l++) normalized[l] = (x[channel + l] - shift[l]) / spread[l] * half;
    if (r->edges) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) result[l] = r->levels[channel + l];
        for (long i = 1; i < r->points; i++) {
            const float *edge = r->edges + (i - 1) * r->channels + channel, *level = r->levels + i * r->channels + channel;
#pragma omp simd
            for (int l = 0; l < LANES; l++) result[l] = normalized[l] >= edge[l] ? level[l] : result[l];
        }
    } else
        for (int l = 0; l < LANES; l++) result[l] = look_up(r, channel + l, normalized[l]);
#pragma omp simd
    for (int l = 0; l < LANES; l++) out[channel + l] = result[l];
}

/* One channel of PIXELS pixels. */
static void round_channel(const Rounding *r, long channel, const float *value, float *result) {
    const float half = (float)(r->bins / 2), shift = r->shift[channel], spread = r->spread[channel];
    float normalized[PIXELS];
#pragma omp simd
    for (int p = 0; p < PIXELS; p++) normalized[p] = (value[p] - shift) / spread * half;
    if (r->edges) {
#pragma omp simd
        for (int p = 0; p < PIXELS; p++) result[p] = r->levels[channel];
        for (long i = 1; i < r->points; i++) {
            const float edge = r->edges[(i - 1) * r->channels + channel], level = r->levels[i * r->channels + channel];
#pragma omp simd
            for (int p = 0; p < PIXELS; p++) result[p] = normalized[p] >= edge ? level : result[p];
        }
    } else
        for (int p = 0; p < PIXELS; p++) result[p] = look_up(r, channel, normalized[p]);
}

/* At most PIXELS pixels, channel by channel: with error feedback, or where lanes would stay idle. */
static void round_in_order(const Rounding *r, long count, const float *x, float *out, float *errors) {
    for (long i = 0; i < r->channels; i++) {
        const long channel = r->order[i];
        float value[PIXELS] = {0}, result[PIXELS];
        for (long p = 0; p < count; p++) value[p] = x[p * r->channels + channel];
        if (r->shares)
            for (long j = 0; j < i; j++) {
                const float share = r->shares[j * r->channels + i], *error = errors + j * PIXELS;
#pragma omp simd
                for (int p = 0; p < PIXELS; p++) value[p] -= share * error[p];
            }
        round_channel(r, channel, value, result);
        if (r->shares)
#pragma omp simd
            for (int p = 0; p < PIXELS; p++) errors[i * PIXELS + p] = value[p] - result[p];
        for (long p = 0; p < count; p++) out[p * r->channels + channel] = result[p];
    }
}

static void round_piece(const Rounding *r, long count, const float *x, float *out, float *errors) {
    if (r->shares || (r->channels < 2 * LANES && r->channels != LANES)) {
        round_in_order(r, count, x, out, errors);
        return;
    }
    for (long p = 0; p < count; p++) {
        const float *pixel = x + p * r->channels;
        float *to = out + p * r->channels;
        for (long channel = 0; channel + LANES <= r->channels; channel += LANES) round_lanes(r, channel, pixel, to);
        if (r->channels % LANES) round_lanes(r, r->channels - LANES, pixel, to); /* some of them once more */
    }
}

/* Returns 0, or 1 where memory is short. */
int round_pixels(const Rounding *r, long n, const float *x, float *out, int threads) {
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        float *errors = malloc(sizeof(float) * PIXELS * r->channels);
#pragma omp for
        for (long first = 0; first < n; first += PIXELS) {
            const long count = n - first < PIXELS ? n - first : PIXELS;
            if (errors)
                round_piece(r, count, x + first * r->channels, out + first * r->channels, errors);
            else
                failed = 1;
        }
        free(errors);
    }
    return failed;
}
