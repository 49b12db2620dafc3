/* Fake quantization of a sample, float [n][channels]. What and why: subset_quantizer.py, lookup.py, error_feedback.py.
 *
 * Statistics and rounding each go over memory once. Channels lie side by side in vector registers; where they are few,
 * several pixels make one wide pixel, in which the channels repeat. Error feedback takes one channel after the other:
 * there, pixels lie side by side.
 */
#include <string.h>

#include "vectors.h"
#include "statistics.h"
#include "nearest.h"
#include "feedback.h"

/* Floats of memory for one thread. */
static long piece(const Quantizer *q) {
    const long most = floats_of_wide(q) > 2 * PIXELS * q->channels ? floats_of_wide(q) : 2 * PIXELS * q->channels;
    return most + most % 2; /* doubles come first */
}

/* Whether something would be read or written where nothing is. */
static int impossible(const Quantizer *q, int threads) {
    if (threads < 1 || q->channels < 1 || q->points < 1 || q->bins < 2 || q->channels > INT_MAX / q->bins) return 1;
    if (!q->values || !(q->edges || q->table) || (q->order && !q->shares)) return 1;
    for (long c = 0; q->order && c < q->channels; c++)
        if (q->order[c] < 0 || q->order[c] >= q->channels) return 1;
    return 0;
}

/* Floats of memory that quantize() works in, or -1 for impossible arguments. */
long memory(const Quantizer *q, int threads) { return impossible(q, threads) ? -1 : piece(q) * (threads + 1); }

/* Pixels first…end - 1 of x and out are rounded as w says. */
static void round_pixels(const Quantizer *q, const Wide *w, long first, long end, const float *x, float *out,
                         float *memory) {
    if (!q->order) {
        round_nearest(q, w, end - first, x + first * q->channels, out + first * q->channels);
        return;
    }
    for (long pixel = first; pixel < end; pixel += PIXELS) {
        const long at = (pixel + PIXELS <= end ? pixel : end - PIXELS) * q->channels; /* some once more */
        round_in_order(q, w, x + at, out + at, memory);
    }
}

/* x, out: n >= WIDTH * threads pixels, of which every thread works on a part. Returns 0, or -1 for impossible arguments,
 * which it does not touch; arrays must be as long as statistics.h says. */
int quantize(const Quantizer *q, long n, const float *x, float *out, float *memory, int threads) {
    if (impossible(q, threads) || n / threads < WIDTH) return -1;
    const Wide all = wide_in(q, memory + piece(q) * threads);
    if (!q->fixed) {
#pragma omp parallel for num_threads(threads)
        for (int t = 0; t < threads; t++) {
            const long first = n * t / threads, count = n * (t + 1) / threads - first;
            const Wide own = wide_in(q, memory + piece(q) * t);
            observe_all(&own, count * q->channels, x + first * q->channels);
        }
        observe_all(&all, 0, x);
        for (int t = 0; t < threads; t++) {
            const Wide own = wide_in(q, memory + piece(q) * t);
            merge(&all, &own, q->channels);
        }
    }
    prepare_edges(q, &all);
    prepare(q, &all, n);
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++)
        round_pixels(q, &all, n * t / threads, n * (t + 1) / threads, x, out, memory + piece(q) * t);
    return 0;
}

/* Blocks: side x side pixels, of which those beyond the map repeat its last row and column. */

static long least(long a, long b) { return a < b ? a : b; }

/* The block from row top and column left of a map x [height][width][channels]. */
static void cut(long channels, long height, long width, long side, long top, long left, const float *x, float *block) {
    const long inside = least(side, width - left);
    for (long row = 0; row < side; row++) {
        const float *const from = x + (least(top + row, height - 1) * width + left) * channels;
        float *const to = block + row * side * channels;
        memcpy(to, from, inside * channels * sizeof(float));
        for (long column = inside; column < side; column++)
            memcpy(to + column * channels, from + (inside - 1) * channels, channels * sizeof(float));
    }
}

/* Magnitudes beyond reach become reach; what is no number stays. */
static void saturate(const float *restrict reach, long channels, long n, float *restrict block) {
    for (long i = 0; i < n; i++) {
        float *const x = block + i * channels;
#pragma omp simd
        for (long c = 0; c < channels; c++) {
            const float low = x[c] < -reach[c] ? -reach[c] : x[c];
            x[c] = low > reach[c] ? reach[c] : low;
        }
    }
}

static void put_back(long channels, long height, long width, long side, long top, long left, const float *block,
                     float *out) {
    for (long row = 0; row < least(side, height - top); row++)
        memcpy(out + ((top + row) * width + left) * channels, block + row * side * channels,
               least(side, width - left) * channels * sizeof(float));
}

/* Floats of memory that one thread takes of blocks. */
static long piece_of_blocks(const Quantizer *q, long side) { return 2 * piece(q) + 2 * side * side * q->channels; }

/* As memory(), for quantize_blocks(). */
long memory_of_blocks(const Quantizer *q, long side, int threads) {
    return impossible(q, threads) || q->fixed || side * side < WIDTH ? -1 : piece_of_blocks(q, side) * threads;
}

/* x, out [height][width][channels], of which every block has its own shift and spread. As quantize() else. */
int quantize_blocks(const Quantizer *q, long height, long width, long side, const float *x, float *out, float *memory,
                    int threads) {
    if (memory_of_blocks(q, side, threads) < 0 || height < 1 || width < 1) return -1;
    const long channels = q->channels, n = side * side;
    const long across = (width + side - 1) / side, blocks = (height + side - 1) / side * across;
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        float *const mine = memory + piece_of_blocks(q, side) * t;
        float *const block = mine + 2 * piece(q), *const rounded = block + n * channels;
        const Wide seen = wide_in(q, mine), all = wide_in(q, mine + piece(q));
        prepare_edges(q, &all);
        for (long i = blocks * t / threads; i < blocks * (t + 1) / threads; i++) {
            const long top = i / across * side, left = i % across * side;
            cut(channels, height, width, side, top, left, x, block);
            if (q->reach) saturate(q->reach, channels, n, block);
            observe_all(&seen, n * channels, block);
            observe_all(&all, 0, block);
            merge(&all, &seen, channels);
            prepare(q, &all, n);
            round_pixels(q, &all, 0, n, block, rounded, mine);
            put_back(channels, height, width, side, top, left, rounded, out);
        }
    }
    return 0;
}
