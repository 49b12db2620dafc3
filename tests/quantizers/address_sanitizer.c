/* Calls the C code under AddressSanitizer, every array on the heap and exactly as long as it has to be: possible arguments
 * of many sizes, then impossible ones, which it has to refuse. */
#include <stdio.h>
#include <stdlib.h>
#include "kernel.c"

static unsigned state = 1;

static float noise(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 23) - 1;
}

static float *floats(long count) {
    float *const values = malloc(sizeof(float) * count);
    for (long i = 0; i < count; i++) values[i] = noise();
    return values;
}

static int *first_integers(long count) {
    int *const values = malloc(sizeof(int) * count);
    for (long i = 0; i < count; i++) values[i] = (int)i;
    return values;
}

static Quantizer quantizer(long channels, long points, int compared, int is_signed, int fixed, int limited, int fed) {
    Quantizer q = {channels, points, 4096, is_signed};
    q.epsilon = 1e-8f;
    q.values = floats(points * channels);
    q.edges = compared ? floats((points - 1) * channels) : NULL;
    q.table = compared ? NULL : floats(channels * q.bins);
    q.fixed = fixed ? floats(2 * channels) : NULL;
    q.limit = limited ? floats(channels) : NULL;
    q.order = fed ? first_integers(channels) : NULL;
    q.shares = fed ? floats(channels * channels) : NULL;
    return q;
}

static void release(const Quantizer *q) {
    const void *const arrays[] = {q->values, q->edges, q->table, q->fixed, q->limit, q->order, q->shares};
    for (int i = 0; i < 7; i++) free((void *)arrays[i]);
}

/* What quantize() returns; -2: memory() had refused. */
static int run(const Quantizer *q, long n, int threads, float outlier) {
    const long needed = memory(q, threads);
    if (needed < 0) return -2;
    float *const x = floats(n * q->channels), *const out = floats(n * q->channels), *const own = floats(needed);
    x[n * q->channels / 2] = outlier;
    const int code = quantize(q, n, x, out, own, threads);
    free(x), free(out), free(own);
    return code;
}

/* What quantize_blocks() returns for a map; -2: memory_of_blocks() had refused. */
static int run_blocks(const Quantizer *q, long height, long width, long side, int threads) {
    const long needed = memory_of_blocks(q, side, threads), count = height * width * q->channels;
    if (needed < 0) return -2;
    float *const x = floats(count), *const out = floats(count), *const own = floats(needed);
    const int code = quantize_blocks(q, height, width, side, x, out, own, threads);
    free(x), free(out), free(own);
    return code;
}

static int failures = 0;

static void expect(const char *what, long value, int code, int expected) {
    if (code == expected) return;
    printf("%s %ld: %d instead of %d\n", what, value, code, expected);
    failures++;
}

int main(void) {
    const long channels[] = {1, 2, 3, 5, 8, 11, 15, 16, 17, 48, 64, 70};
    const float outliers[] = {0, INFINITY, NAN};
    for (int c = 0; c < 12; c++)
        for (int way = 0; way < 32; way++)
            for (int o = 0; o < 3; o++) {
                const Quantizer q = quantizer(channels[c], 4, way & 1, way & 2, way & 4, way & 8, way & 16);
                const int threads = 1 + way % 3;
                for (long n = WIDTH; n < WIDTH + 40; n += 13)
                    expect("channels", channels[c], run(&q, n * threads, threads, outliers[o]), 0);
                release(&q);
            }
    for (int c = 0; c < 12; c++)
        for (int way = 0; way < 16; way++) {
            const Quantizer q = quantizer(channels[c], 4, way & 1, way & 2, 0, way & 4, way & 8);
            const long sizes[][2] = {{1, 1}, {8, 8}, {3, 19}, {17, 9}, {16, 24}};
            for (int i = 0; i < 5; i++)
                for (long side = 8; side < 14; side += 5)
                    expect("side", side, run_blocks(&q, sizes[i][0], sizes[i][1], side, 1 + way % 3), 0);
            expect("side", 7, run_blocks(&q, 8, 8, 7, 1), -2);
            expect("height", 0, run_blocks(&q, 0, 8, 8, 1), -1);
            expect("width", 0, run_blocks(&q, 8, 0, 8, 1), -1);
            release(&q);
        }
    const Quantizer fixed = quantizer(8, 4, 1, 1, 1, 0, 0);
    expect("fixed", 1, run_blocks(&fixed, 8, 8, 8, 1), -2);
    release(&fixed);
    const int outside[] = {8, -1, 32767, -32768, INT_MAX, INT_MIN};
    for (int i = 0; i < 6; i++)
        for (int at = 0; at < 8; at += 7) {
            const Quantizer q = quantizer(8, 4, 1, 1, 0, 1, 1);
            ((int *)q.order)[at] = outside[i];
            expect("order", outside[i], run(&q, 2 * WIDTH, 1, 0), -2);
            float one[1] = {0};
            expect("order past memory()", outside[i], quantize(&q, 2 * WIDTH, one, one, one, 1), -1);
            release(&q);
        }
    const Quantizer good = quantizer(8, 4, 1, 1, 0, 1, 1);
    for (int i = 0; i < 9; i++) {
        Quantizer q = good;
        if (i == 0) q.channels = 0;
        if (i == 1) q.channels = -8;
        if (i == 2) q.channels = LONG_MAX / 8;
        if (i == 3) q.points = 0;
        if (i == 4) q.bins = 0;
        if (i == 5) q.values = NULL;
        if (i == 6) q.edges = NULL;
        if (i == 7) q.shares = NULL;
        expect("broken", i, run(&q, WIDTH, i == 8 ? 0 : 1, 0), -2);
    }
    expect("pixels", WIDTH - 1, run(&good, WIDTH - 1, 1, 0), -1);
    expect("pixels for two threads", WIDTH, run(&good, WIDTH, 2, 0), -1);
    release(&good);
    return failures > 0;
}
