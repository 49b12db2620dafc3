/* Vector registers: LANES floats, whatever the processor has. */
#include <math.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline Floats choose(Ints which, Floats yes, Floats no) {
    return (Floats)((which & (Ints)yes) | (~which & (Ints)no));
}

/* Either LANES values or LANES times the same. */
static inline Floats load(const float *from, int same) {
    if (same) return (Floats){0} + *from;
    return *(const Floats *)from;
}

/* a * b + c, in one step where the processor has one: then faster, and rounded once. */
static inline Floats multiply_add(float a, Floats b, Floats c) {
    const float *const bs = (const float *)&b, *const cs = (const float *)&c;
    float result[LANES];
#pragma omp simd
    for (int l = 0; l < LANES; l++)
#ifdef FP_FAST_FMAF
        result[l] = fmaf(a, bs[l], cs[l]);
#else
        result[l] = a * bs[l] + cs[l];
#endif
    return load(result, 0);
}

/* The lanes of a, then of b. */
static inline Floats shuffle(Floats a, Floats b, Ints lanes) {
#ifdef __clang__
    Floats result;
    for (int l = 0; l < LANES; l++) result[l] = lanes[l] < LANES ? a[lanes[l]] : b[lanes[l] - LANES];
    return result;
#else
    return __builtin_shuffle(a, b, lanes);
#endif
}

/* Interleaving the halves of a square makes columns of half as many rows; when all are columns, it is transposed. */
static inline void transpose_square(Floats *rows) {
    Ints lower, upper;
    for (int l = 0; l < LANES; l++) lower[l] = l / 2 + l % 2 * LANES, upper[l] = lower[l] + LANES / 2;
    for (int done = 1; done < LANES; done *= 2) {
        Floats next[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = shuffle(rows[i], rows[i + LANES / 2], lower);
            next[2 * i + 1] = shuffle(rows[i], rows[i + LANES / 2], upper);
        }
        for (int i = 0; i < LANES; i++) rows[i] = next[i];
    }
}

/* from [rows][columns] to [columns][rows]; rows or columns that do not fill a square are done with some before them. */
static void transpose(long rows, long columns, const float *from, float *to) {
    if (rows < LANES || columns < LANES) {
        for (long r = 0; r < rows; r++)
            for (long c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
        return;
    }
    for (long row = 0; row < rows; row += LANES)
        for (long column = 0; column < columns; column += LANES) {
            const long r = row + LANES <= rows ? row : rows - LANES;
            const long c = column + LANES <= columns ? column : columns - LANES;
            Floats square[LANES];
            for (int i = 0; i < LANES; i++) square[i] = load(from + (r + i) * columns + c, 0);
            transpose_square(square);
            for (int i = 0; i < LANES; i++) *(Floats *)(to + (c + i) * rows + r) = square[i];
        }
}
