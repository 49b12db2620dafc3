/* Rounds n pixels, float [n][channels], to the nearest points: lookup.py and error_feedback.py say what and why.
 *
 * Pixels are taken PIXELS at a time, channels one after the other: what they need stays in the first-level cache, and a
 * loop over pixels is one that a compiler turns into vector instructions.
 */
#include <stdlib.h>

#define PIXELS 64

typedef struct {
    long channels, points, bins;
    const int *order;                       /* channels as they are rounded */
    const float *shift, *spread;            /* per channel */
    const float *edges;                     /* [channels][points - 1], or NULL: look up in the table */
    const float *levels;                    /* [channels][points] */
    const float *table;                     /* [channels][bins], the level of every bin */
    const float *shares;                    /* [channels][channels] in order, or NULL: no error feedback */
} Rounding;

static void nearest(const Rounding *r, long channel, const float *value, float *result) {
    const float half = (float)(r->bins / 2), shift = r->shift[channel], spread = r->spread[channel];
    float normalized[PIXELS];
    for (int p = 0; p < PIXELS; p++) normalized[p] = (value[p] - shift) / spread * half;
    if (r->edges) {
        const float *edges = r->edges + channel * (r->points - 1), *levels = r->levels + channel * r->points;
        for (int p = 0; p < PIXELS; p++) result[p] = levels[0];
        for (long i = 1; i < r->points; i++) {
            const float edge = edges[i - 1], level = levels[i];
            for (int p = 0; p < PIXELS; p++) result[p] = normalized[p] >= edge ? level : result[p];
        }
    } else {
        const float *table = r->table + channel * r->bins;
        const int middle = r->bins / 2, last = r->bins - 1;
        for (int p = 0; p < PIXELS; p++) {
            const float within = normalized[p] < -half ? -half : normalized[p] > half ? half : normalized[p];
            const int toward_zero = (int)within, bin = toward_zero - (within < toward_zero) + middle;
            result[p] = table[bin > last ? last : bin];
        }
    }
}

static void round_piece(const Rounding *r, long count, const float *x, float *out, float *errors) {
    for (long i = 0; i < r->channels; i++) {
        const long channel = r->order[i];
        float value[PIXELS] = {0}, result[PIXELS];
        for (long p = 0; p < count; p++) value[p] = x[p * r->channels + channel];
        if (r->shares)
            for (long j = 0; j < i; j++) {
                const float share = r->shares[j * r->channels + i], *error = errors + j * PIXELS;
                for (int p = 0; p < PIXELS; p++) value[p] -= share * error[p];
            }
        nearest(r, channel, value, result);
        if (r->shares)
            for (int p = 0; p < PIXELS; p++) errors[i * PIXELS + p] = value[p] - result[p];
        for (long p = 0; p < count; p++) out[p * r->channels + channel] = result[p];
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
