/* Rounding to trained levels, and what comes back through it: float [n][channels]. What and why: levels.py. */
#include <string.h>

#define BLOCK 64 /* channels worked on together: they stay in registers */

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

/* levels [points][channels] ascending, edges [points - 1][channels]; codes of values beyond the levels are inverted. */
void round_to_levels(long n, long channels, long points, const float *x, const float *levels, const float *edges,
                     float *result, short *codes, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long row = 0; row < n; row++)
        for (long c = 0; c < channels; c += BLOCK) {
            const long at = row * channels + c, width = channels - c < BLOCK ? channels - c : BLOCK;
            round_some(width, channels, points, x + at, levels + c, edges + c, result + at, codes + at);
        }
}

/* to_x: the gradient where the value lies within the levels; to_levels [threads][points][channels]: its sum by code. */
void pass_back(long n, long channels, long points, const float *gradient, const short *codes, float *to_x,
               float *to_levels, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        const long first = n * t / threads, end = n * (t + 1) / threads;
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
