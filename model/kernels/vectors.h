// Vectors of floats, and what is done with them lane by lane.

#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

// As wide as a register, and how many there are: what is wider than one the compiler keeps in memory.
#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif
typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void store(float* to, Vector values) { *reinterpret_cast<Vector*>(to) = values; }
// Compilers would load it anew in each instruction that uses it, and the loads would take longer than the sums.
inline Vector in_register(Vector loaded) {
#if defined(__x86_64__)
  asm("" : "+v"(loaded));
#elif defined(__aarch64__)
  asm("" : "+w"(loaded));
#endif
  return loaded;
}
inline Vector all(float value) { return value - Vector{}; }
inline long least(long a, long b) { return a < b ? a : b; }
inline long rounded_up(long n) { return (n + LANES - 1) / LANES * LANES; }

inline Vector load(const float* from, long n) {
  if (n >= LANES) return load(from);
  Vector values;
  for (long lane = 0; lane < LANES; lane++) values[lane] = lane < n ? from[lane] : 0;
  return values;
}

inline void store(float* to, Vector values, long n) {
  if (n >= LANES) return store(to, values);
  for (long lane = 0; lane < LANES; lane++)
    if (lane < n) to[lane] = values[lane];
}

// Lanes of two vectors side by side, as `from` numbers them.
inline Vector shuffled(Vector a, Vector b, Integers from) {
#ifdef __clang__
  Vector found;
  for (int lane = 0; lane < LANES; lane++) found[lane] = from[lane] < LANES ? a[from[lane]] : b[from[lane] - LANES];
  return found;
#else
  return __builtin_shuffle(a, b, from);
#endif
}

inline float sum(Vector values) {
  for (int apart = LANES / 2; apart; apart /= 2) {
    Integers from;
    for (int lane = 0; lane < LANES; lane++) from[lane] = lane ^ apart;
    values += shuffled(values, values, from);
  }
  return values[0];
}

inline float largest(Vector values) {
  float found = values[0];
  for (int lane = 1; lane < LANES; lane++) found = values[lane] > found ? values[lane] : found;
  return found;
}

// e^x as 2^n e^r, n whole and |r| <= ln(2)/2, with the Taylor series of e^r up to r^6: 2e-7 of it at most.
inline Vector exponential(Vector x) {
  // Between the bounds neither it nor its inverse is subnormal, which processors are slow at.
  x = x < -80.0f ? all(-80.0f) : x;
  x = x > 80.0f ? all(80.0f) : x;
  // Added to 1.5 * 2^23 a float has no place for a fraction, and its last bits are the whole number.
  const Vector whole = x * 1.44269504f + 12582912.0f;
  const Vector n = whole - 12582912.0f;
  const Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;  // ln(2) in two parts, the first exact times n
  Vector series = r * (1.0f / 720) + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r + 1.0f;
  series = series * r + 1.0f;
  return (Vector)((Integers)series + ((Integers)whole << 23));
}
