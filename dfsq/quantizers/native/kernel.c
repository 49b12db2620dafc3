/* Fake quantization of a sample, float [n][channels]. What and why: subset_quantizer.py, lookup.py, error_feedback.py.
 *
 * Statistics and rounding each go over memory once. Channels lie side by side in vector registers; where they are few,
 * several pixels make one wide pixel, in which the channels repeat. Error feedback takes one channel after the other:
 * there, pixels lie side by side.
 */
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
    prepare(q, &all, n);
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        const long first = n * t / threads, end = n * (t + 1) / threads;
        if (q->order)
            for (long pixel = first; pixel < end; pixel += PIXELS) {
                const long at = (pixel + PIXELS <= end ? pixel : end - PIXELS) * q->channels; /* some once more */
                round_in_order(q, &all, x + at, out + at, memory + piece(q) * t);
            }
        else
            round_nearest(q, &all, end - first, x + first * q->channels, out + first * q->channels);
    }
    return 0;
}
