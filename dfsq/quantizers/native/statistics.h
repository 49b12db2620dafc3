/* What quantizing a sample takes, and its part that depends on the sample. */
#include <limits.h>
#include <math.h>

#define WIDTH 64   /* least number of values of a wide pixel */
#define WIDEST 512 /* most of them that are taken for registers to be full */

typedef struct {
    long channels, points, bins, is_signed;
    const float *values, *edges; /* [points][channels], [points - 1][channels]; edges NULL: look up in the table */
    const float *table;          /* [channels][bins], the value of every bin */
    const float *fixed;          /* [2][channels], shift and spread, or NULL: those of the sample */
    const float *limit;          /* of the spread of every channel, or NULL */
    const float *reach;          /* of blocks: largest magnitude in every channel, or NULL */
    const int *order;            /* channels as they are rounded, or NULL: no error feedback */
    const float *shares;         /* [channels][channels] in order: what a channel takes of the errors of those before */
    float epsilon;
} Quantizer;

/* What is known of a wide pixel: [width] each, but edges [points - 1][width] and levels [points][width]. */
typedef struct {
    long width;
    double *sum;
    float *highest, *lowest, *shift, *spread, *edges, *levels;
} Wide;

/* How many pixels make a wide one, at most WIDTH. */
static long fold(const Quantizer *q) {
    const long least = (WIDTH + q->channels - 1) / q->channels;
    for (long pixels = least; pixels * q->channels <= WIDEST; pixels++)
        if (pixels * q->channels % LANES == 0) return pixels;
    return least;
}

static long floats_of_wide(const Quantizer *q) { return fold(q) * q->channels * (q->edges ? 2 * q->points + 5 : 6); }

static Wide wide_in(const Quantizer *q, float *memory) {
    const long width = fold(q) * q->channels;
    Wide w = {.width = width, .sum = (double *)memory};
    w.highest = memory + 2 * width; /* the sums are doubles */
    w.lowest = w.highest + width;
    w.shift = w.lowest + width;
    w.spread = w.shift + width;
    w.levels = w.spread + width;
    w.edges = w.levels + q->points * width;
    return w;
}

static void observe(const Wide *w, long count, const float *x) {
    double *restrict sum = w->sum;
    float *restrict highest = w->highest, *restrict lowest = w->lowest;
#pragma omp simd
    for (long c = 0; c < count; c++) {
        highest[c] = x[c] > highest[c] ? x[c] : highest[c];
        lowest[c] = x[c] < lowest[c] ? x[c] : lowest[c];
    }
#pragma omp simd
    for (long c = 0; c < count; c++) sum[c] += x[c];
}

static void observe_all(const Wide *w, long count, const float *x) {
    for (long c = 0; c < w->width; c++) w->sum[c] = 0, w->highest[c] = -INFINITY, w->lowest[c] = INFINITY;
    for (; count >= w->width; count -= w->width, x += w->width) observe(w, w->width, x);
    observe(w, count, x);
}

/* The first channels of a take in those of b. */
static void merge(const Wide *a, const Wide *b, long channels) {
    for (long c = 0; c < b->width; c++) {
        const long channel = c % channels;
        a->sum[channel] += b->sum[c];
        if (b->highest[c] > a->highest[channel]) a->highest[channel] = b->highest[c];
        if (b->lowest[c] < a->lowest[channel]) a->lowest[channel] = b->lowest[c];
    }
}

/* What does not depend on the sample. */
static void prepare_edges(const Quantizer *q, const Wide *w) {
    for (long i = 0; q->edges && i + 1 < q->points; i++)
        for (long c = 0; c < w->width; c++) w->edges[i * w->width + c] = q->edges[i * q->channels + c % q->channels];
}

/* Repeats the first channels of a row of width values. */
static void repeat(const Wide *w, long channels, float *row) {
    for (long c = channels; c < w->width; c++) row[c] = row[c - channels];
}

/* Shift, spread and levels, from what was seen of n pixels. */
static void prepare(const Quantizer *q, const Wide *w, long n) {
    for (long c = 0; c < q->channels; c++) {
        if (q->fixed) {
            w->shift[c] = q->fixed[c], w->spread[c] = q->fixed[q->channels + c];
            continue;
        }
        const float shift = q->is_signed ? (float)(w->sum[c] / n) : 0;
        const float above = w->highest[c] - shift, below = shift - w->lowest[c];
        const float spread = (above > below ? above : below) + q->epsilon;
        w->shift[c] = shift, w->spread[c] = q->limit && spread > q->limit[c] ? q->limit[c] : spread;
        if (isnan(w->sum[c])) w->spread[c] = NAN; /* comparisons have lost it */
    }
    repeat(w, q->channels, w->shift);
    repeat(w, q->channels, w->spread);
    for (long i = 0; q->edges && i < q->points; i++) {
        const float *restrict values = q->values + i * q->channels, *restrict shift = w->shift, *restrict spread = w->spread;
        float *restrict levels = w->levels + i * w->width;
#pragma omp simd
        for (long c = 0; c < q->channels; c++) levels[c] = values[c] * spread[c] + shift[c];
        repeat(w, q->channels, levels);
    }
}
