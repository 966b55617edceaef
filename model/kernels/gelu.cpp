// GELU in tanh's approximation: x (1 + tanh(u)) / 2 = x / (1 + e^-2u) with u = sqrt(2/pi) (x + 0.044715 x^3).

#include "vectors.h"

namespace {

constexpr float LINEAR = 1.5957691216057308f, CUBIC = 0.0713548162726009f;  // of 2u

inline Vector gelu(Vector x) { return x / (1.0f + exponential(-x * (LINEAR + CUBIC * x * x))); }

inline Vector gelu_slope(Vector x) {
  const Vector square = x * x, share = 1.0f / (1.0f + exponential(-x * (LINEAR + CUBIC * square)));
  return share * (1.0f + x * (1.0f - share) * (LINEAR + 3 * CUBIC * square));
}

constexpr long CHUNK = 1 << 12;  // floats that one thread takes at a time
constexpr long SUMMED = 64;      // rows whose sums are one part

}  // namespace

extern "C" {

// y (n) = gelu(x)
void gelu_forward(const float* x, float* y, long n, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long first = 0; first < n; first += CHUNK)
    for (long i = first; i < least(n, first + CHUNK); i += LANES) store(y + i, gelu(load(x + i, n - i)), n - i);
}

// dx (n) = dy gelu'(x)
void gelu_backward(const float* x, const float* dy, float* dx, long n, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long first = 0; first < n; first += CHUNK)
    for (long i = first; i < least(n, first + CHUNK); i += LANES)
      store(dx + i, load(dy + i, n - i) * gelu_slope(load(x + i, n - i)), n - i);
}

// x (N, C) += bias (C); y (N, C) = gelu(x)
void add_bias_gelu(float* x, const float* bias, float* y, long N, long C, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long n = 0; n < N; n++)
    for (long c = 0; c < C; c += LANES) {
      const long at = n * C + c, left = C - c;
      const Vector sums = load(x + at, left) + load(bias + c, left);
      store(x + at, sums, left);
      store(y + at, gelu(sums), left);
    }
}

// gradient (N, C), of the GELU, *= gelu'(x), and the sums (parts, C) of each SUMMED rows of it
void add_bias_gelu_backward(const float* x, float* gradient, float* sums, long N, long C, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long part = 0; part < (N + SUMMED - 1) / SUMMED; part++) {
    float* total = sums + part * C;
    memset(total, 0, C * sizeof(float));
    for (long n = part * SUMMED; n < least(N, (part + 1) * SUMMED); n++)
      for (long c = 0; c < C; c += LANES) {
        const long at = n * C + c, left = C - c;
        const Vector inner = load(gradient + at, left) * gelu_slope(load(x + at, left));
        store(gradient + at, inner, left);
        store(total + c, load(total + c, left) + inner, left);
      }
  }
}
}
