/* Rounding to trained levels, and what comes back through it: float [n][channels]. What and why: levels.py. */
#include <string.h>

#define BLOCK 64 /* channels worked on together: they stay in registers */
#define PIXELS 32 /* rounded together where channels wait for one another */

static void round_some(long width, long channels, long points, const float *x, const float *levels,
                       const float *edges, float *result, short *codes) {
    const float *const last = levels + (points - 1) * channels;
    float nearest[BLOCK];
    int code[BLOCK];
#pragma omp simd
    for (long c = 0; c < width; c++) nearest[c] = levels[c], code[c] = 0;
    for (long i = 1; i < points; i++) {
        const float *const edge = edges + (i - 1) * channels, *const level = levels + i * channels;
#pragma omp simd
        for (long c = 0; c < width; c++) {
            const int above = x[c] >= edge[c];
            nearest[c] = above ? level[c] : nearest[c];
            code[c] += above;
        }
    }
#pragma omp simd
    for (long c = 0; c < width; c++) {
        const int inside = (x[c] >= levels[c]) & (x[c] <= last[c]);
        result[c] = nearest[c];
        codes[c] = (short)(inside ? code[c] : ~code[c]);
    }
}

/* x [samples][n][channels], levels [samples][points][channels] ascending, edges [samples][points - 1][channels]; codes of
   values beyond the levels are inverted. */
void round_to_levels(long samples, long n, long channels, long points, const float *x, const float *levels,
                     const float *edges, float *result, short *codes, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long row = 0; row < samples * n; row++) {
        const long sample = row / n;
        const float *const own_levels = levels + sample * points * channels;
        const float *const own_edges = edges + sample * (points - 1) * channels;
        for (long c = 0; c < channels; c += BLOCK) {
            const long at = row * channels + c, width = channels - c < BLOCK ? channels - c : BLOCK;
            round_some(width, channels, points, x + at, own_levels + c, own_edges + c, result + at, codes + at);
        }
    }
}

/* As round_to_levels, for PIXELS pixels or less, channels in order: shares [channels][channels], both in that order, say in
   column j < i of row i what of the error of channel j is taken from channel i. errors [channels][PIXELS]. */
static void round_in_order(long pixels, long channels, long points, const float *x, const float *levels, const float *edges,
                           const int *order, const float *shares, float *result, short *codes, float *errors) {
    for (long i = 0; i < channels; i++) {
        const long c = order[i];
        const float *const share = shares + i * channels;
        float value[PIXELS], nearest[PIXELS];
        int code[PIXELS];
        for (long p = 0; p < PIXELS; p++) value[p] = p < pixels ? x[p * channels + c] : 0, code[p] = 0;
        for (long j = 0; j < i; j++) {
            const float *const error = errors + j * PIXELS;
#pragma omp simd
            for (long p = 0; p < PIXELS; p++) value[p] -= share[j] * error[p];
        }
        const float first = levels[c], last = levels[(points - 1) * channels + c];
#pragma omp simd
        for (long p = 0; p < PIXELS; p++) nearest[p] = first;
        for (long k = 1; k < points; k++) {
            const float edge = edges[(k - 1) * channels + c], level = levels[k * channels + c];
#pragma omp simd
            for (long p = 0; p < PIXELS; p++) {
                const int above = value[p] >= edge;
                nearest[p] = above ? level : nearest[p];
                code[p] += above;
            }
        }
#pragma omp simd
        for (long p = 0; p < PIXELS; p++) {
            errors[i * PIXELS + p] = value[p] - nearest[p];
            code[p] = (value[p] >= first) & (value[p] <= last) ? code[p] : ~code[p];
        }
        for (long p = 0; p < pixels; p++) result[p * channels + c] = nearest[p], codes[p * channels + c] = (short)code[p];
    }
}

/* As round_to_levels, with what rounding takes from a channel handed on; errors [threads][channels][PIXELS] is memory. */
void round_with_feedback(long samples, long n, long channels, long points, const float *x, const float *levels,
                         const float *edges, const int *order, const float *shares, float *errors, float *result,
                         short *codes, int threads) {
    const long blocks = (n + PIXELS - 1) / PIXELS, all = samples * blocks;
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++)
        for (long block = all * t / threads; block < all * (t + 1) / threads; block++) {
            const long sample = block / blocks, first = block % blocks * PIXELS;
            const long pixels = n - first < PIXELS ? n - first : PIXELS, at = (sample * n + first) * channels;
            round_in_order(pixels, channels, points, x + at, levels + sample * points * channels,
                           edges + sample * (points - 1) * channels, order, shares, result + at, codes + at,
                           errors + t * channels * PIXELS);
        }
}

/* to_x: the gradient where the value lies within the levels; to_levels [parts][points][channels]: its sum by code, in as
   many equal parts of the rows. */
void pass_back(long n, long channels, long points, const float *gradient, const short *codes, float *to_x,
               float *to_levels, int parts, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < parts; t++) {
        const long first = n * t / parts, end = n * (t + 1) / parts;
        float *const own = to_levels + t * points * channels;
        memset(own, 0, sizeof(float) * points * channels);
        for (long row = first; row < end; row++) {
            const float *const g = gradient + row * channels;
            const short *const code = codes + row * channels;
            float *const back = to_x + row * channels;
#pragma omp simd
            for (long c = 0; c < channels; c++) back[c] = code[c] < 0 ? 0 : g[c];
            for (long i = 0; i < points; i++) {
                float *const sum = own + i * channels;
#pragma omp simd
                for (long c = 0; c < channels; c++) sum[c] += (code[c] < 0 ? ~code[c] : code[c]) == i ? g[c] : 0;
            }
        }
    }
}
