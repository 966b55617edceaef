// Products of row-major matrices whose blocks fit into a core's cache, and the copies that they are made from.

#pragma once
#include <stdlib.h>

#include "vectors.h"

constexpr int SUMS = REGISTERS == 32 ? 24 : 12;  // vectors of a tile; with what is multiplied they fill the registers

// c (ROWS, VECTORS * LANES) = a (ROWS, depth) b (depth, VECTORS * LANES), or added to it, held in registers.
template <int ROWS, int VECTORS>
__attribute__((always_inline)) inline void tile(long depth, const float* a, long a_row, long a_column,
                                                const float* b, long b_row, float* c, long c_row, bool add) {
  Vector sums[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) sums[i][j] = add ? load(c + i * c_row + j * LANES) : Vector{};
  for (long k = 0; k < depth; k++) {
    Vector right[VECTORS];
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) right[j] = in_register(load(b + k * b_row + j * LANES));
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      const Vector left = all(a[i * a_row + k * a_column]);
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; j++) sums[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) store(c + i * c_row + j * LANES, sums[i][j]);
}

template <int VECTORS>
inline void panel(long rows, long depth, const float* a, long a_row, long a_column, const float* b, long b_row,
           float* c, long c_row, bool add) {
  constexpr int GROUP = SUMS / VECTORS < 16 ? SUMS / VECTORS : 16;
  long i = 0;
  for (; i + GROUP <= rows; i += GROUP)
    tile<GROUP, VECTORS>(depth, a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, add);
  for (; i + GROUP / 2 <= rows; i += GROUP / 2)
    tile<GROUP / 2, VECTORS>(depth, a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, add);
  for (; i + 2 <= rows; i += 2)
    tile<2, VECTORS>(depth, a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, add);
  for (; i < rows; i++)
    tile<1, VECTORS>(depth, a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, add);
}

// How many of the vectors that are left a tile takes, so that sums fill the registers and no narrow tile comes last.
inline long width_of_tile(long left) {
  if (REGISTERS == 16) return least(left, 2);
  return (left % 3 == 1 && left >= 4) || (left % 3 == 2 && left >= 8) ? 4 : least(left, 3);
}

// c (rows, columns) = a (rows, depth) b (depth, columns), or added to it; columns by LANES, a of any strides.
inline void product(long rows, long columns, long depth, const float* a, long a_row, long a_column, const float* b,
             long b_row, float* c, long c_row, bool add) {
  for (long j = 0; j < columns;) {
    const long vectors = width_of_tile((columns - j) / LANES);
    if (vectors == 4) panel<4>(rows, depth, a, a_row, a_column, b + j, b_row, c + j, c_row, add);
    if (vectors == 3) panel<3>(rows, depth, a, a_row, a_column, b + j, b_row, c + j, c_row, add);
    if (vectors == 2) panel<2>(rows, depth, a, a_row, a_column, b + j, b_row, c + j, c_row, add);
    if (vectors == 1) panel<1>(rows, depth, a, a_row, a_column, b + j, b_row, c + j, c_row, add);
    j += vectors * LANES;
  }
}

class Room {
 public:
  explicit Room(long floats)
      : left_(static_cast<float*>(aligned_alloc(64, (floats * 4 + 63) / 64 * 64))), all_(left_) {}
  ~Room() { free(all_); }
  float* take(long floats) {
    float* taken = left_;
    left_ += floats;
    return taken;
  }

 private:
  float* left_;
  float* all_;
};

// Copy rows (T, D) to (T, width), with zeros on the right.
inline void copy(const float* from, long from_row, long T, long D, float* to, long width) {
  for (long t = 0; t < T; t++)
    for (long d = 0; d < width; d += LANES)
      store(to + t * width + d, d < D ? load(from + t * from_row + d, D - d) : Vector{});
}

inline void copy_back(const float* from, long width, long T, long D, float* to, long to_row) {
  for (long t = 0; t < T; t++)
    for (long d = 0; d < D; d += LANES) store(to + t * to_row + d, load(from + t * width + d), D - d);
}

// Turn a square of LANES rows: in each pass those that are `apart` exchange what lies off the diagonal.
template <int APART>
__attribute__((always_inline)) inline void exchange(Vector* rows) {
  Integers low, high;
  for (int lane = 0; lane < LANES; lane++) {
    low[lane] = lane & APART ? LANES + lane - APART : lane;
    high[lane] = lane & APART ? LANES + lane : lane + APART;
  }
  for (int i = 0; i < LANES; i++)
    if (!(i & APART)) {
      const Vector upper = rows[i], lower = rows[i + APART];
      rows[i] = shuffled(upper, lower, low);
      rows[i + APART] = shuffled(upper, lower, high);
    }
}

template <int APART>
__attribute__((always_inline)) inline void turn_square(Vector* rows) {
  if constexpr (APART < LANES) {
    exchange<APART>(rows);
    turn_square<2 * APART>(rows);
  }
}

// Turn rows (T, D) into columns (D, width), scaled, with zeros on the right.
inline void turn(const float* from, long from_row, long T, long D, float scale, float* to, long width) {
  for (long t = 0; t < width; t += LANES)
    for (long d = 0; d < D; d += LANES) {
      const long n = least(LANES, D - d);
      Vector rows[LANES];
      for (long i = 0; i < LANES; i++)
        rows[i] = t + i < T ? scale * load(from + (t + i) * from_row + d, n) : Vector{};
      turn_square<1>(rows);
      for (long i = 0; i < n; i++) store(to + (d + i) * width + t, rows[i]);
    }
}

inline float inner_product(const float* a, const float* b, long n) {
  Vector totals{};
  for (long i = 0; i < n; i += LANES) totals += load(a + i, n - i) * load(b + i, n - i);
  return sum(totals);
}
