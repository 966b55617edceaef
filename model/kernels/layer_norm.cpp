// Layer norm of a residual stream, with the biases that are added to the stream beside it.

#include "vectors.h"

namespace {

constexpr float EPSILON = 1e-5f;  // model.transformer.LAYER_NORM_EPS
constexpr long NORMED = 64;       // rows whose sums are one part

inline Vector mask(Vector values, long n) {
  for (long lane = n; lane < LANES; lane++) values[lane] = 0;
  return values;
}

void moments(const float* x, long C, float* mean, float* inverse) {
  Vector totals{}, squares{};
  for (long c = 0; c < C; c += LANES) totals += load(x + c, C - c);
  *mean = sum(totals) / C;
  for (long c = 0; c < C; c += LANES) {
    Vector centred = load(x + c, C - c) - *mean;
    if (C - c < LANES) centred = mask(centred, C - c);
    squares += centred * centred;
  }
  *inverse = 1 / sqrtf(sum(squares) / C + EPSILON);
}

}  // namespace

extern "C" {

// x (N, C) -> normed (N, C), moments (N, 2): mean and inverse deviation; and next (N, C) = x + bias (C)
void layer_norm(const float* x, const float* weight, const float* shift, const float* bias, float* normed,
                float* next, float* found, long N, long C, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long n = 0; n < N; n++) {
    const float* row = x + n * C;
    moments(row, C, found + 2 * n, found + 2 * n + 1);
    const float mean = found[2 * n], inverse = found[2 * n + 1];
    for (long c = 0; c < C; c += LANES) {
      const long left = C - c;
      const Vector values = load(row + c, left);
      store(normed + n * C + c, (values - mean) * inverse * load(weight + c, left) + load(shift + c, left), left);
      store(next + n * C + c, values + load(bias + c, left), left);
    }
  }
}

// gradient (N, C), of the norm, and dnext (N, C), the stream's own -> gradient (N, C), of x, and the sums of each
// NORMED rows (parts, 4, C): of weight, of shift, of dnext, of the gradient of x.
void layer_norm_backward(const float* x, const float* weight, const float* found, float* gradient,
                         const float* dnext, float* sums, long N, long C, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long part = 0; part < (N + NORMED - 1) / NORMED; part++) {
    float* total = sums + part * 4 * C;
    memset(total, 0, 4 * C * sizeof(float));
    for (long n = part * NORMED; n < least(N, (part + 1) * NORMED); n++) {
      const float mean = found[2 * n], inverse = found[2 * n + 1];
      Vector plain{}, along{};
      for (long c = 0; c < C; c += LANES) {
        const long at = n * C + c, left = C - c;
        const Vector given = load(gradient + at, left), unit = (load(x + at, left) - mean) * inverse;
        const Vector scaled = given * load(weight + c, left);
        plain += scaled;
        along += scaled * unit;
        store(total + c, load(total + c, left) + given * unit, left);
        store(total + C + c, load(total + C + c, left) + given, left);
      }
      const float level = sum(plain) / C, slope = sum(along) / C;
      for (long c = 0; c < C; c += LANES) {
        const long at = n * C + c, left = C - c;
        const Vector unit = (load(x + at, left) - mean) * inverse, stream = load(dnext + at, left);
        const Vector all_of_it =
            stream + (load(gradient + at, left) * load(weight + c, left) - level - unit * slope) * inverse;
        store(gradient + at, all_of_it, left);
        store(total + 2 * C + c, load(total + 2 * C + c, left) + stream, left);
        store(total + 3 * C + c, load(total + 3 * C + c, left) + all_of_it, left);
      }
    }
  }
}

// sums (parts, C) of each NORMED rows of x (N, C)
void sum_rows(const float* x, float* sums, long N, long C, int threads) {
#pragma omp parallel for num_threads(threads)
  for (long part = 0; part < (N + NORMED - 1) / NORMED; part++) {
    float* total = sums + part * C;
    memset(total, 0, C * sizeof(float));
    for (long n = part * NORMED; n < least(N, (part + 1) * NORMED); n++)
      for (long c = 0; c < C; c += LANES) {
        const long left = C - c;
        store(total + c, load(total + c, left) + load(x + n * C + c, left), left);
      }
  }
}
}
