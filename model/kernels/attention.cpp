// Causal attention over heads that stand side by side, forward and backward.

#include "products.h"

namespace {

// Queries go by QUERIES, each against all keys up to its own.
constexpr long QUERIES = 32;

struct Shape {
  long T, D, row;    // positions, head size, floats from one position of q, k, v to the next
  long C;            // floats from one position of the output to the next
  long Tp, Dp;       // T and D rounded up to LANES, T also off the multiples of a page (see `off_pages`)
  float scale;       // 1 / sqrt(D)
  Shape(long T, long H, long D)
      : T(T), D(D), row(3 * H * D), C(H * D), Tp(off_pages(T)), Dp(rounded_up(D)), scale(1 / sqrtf(D)) {}
};

// Make probabilities of scores (one row), of which the first `seen` count; return the logarithm of their sum.
float softmax(float* scores, long seen, long width) {
  for (long j = seen; j < width; j++) scores[j] = -INFINITY;
  Vector top = load(scores);
  for (long j = LANES; j < width; j += LANES) top = load(scores + j) > top ? load(scores + j) : top;
  const float most = largest(top);
  Vector totals{};
  for (long j = 0; j < width; j += LANES) {
    const Vector raised = exponential(load(scores + j) - most);
    store(scores + j, raised);
    totals += raised;
  }
  const float total = sum(totals);
  const float share = 1 / total;
  for (long j = 0; j < width; j += LANES) store(scores + j, load(scores + j) * share);
  for (long j = seen; j < width; j++) scores[j] = 0;
  return most + logf(total);
}

void head_forward(const Shape& s, const float* q, float* y, float* log_sums) {
  Room room(s.D * s.Tp + s.T * s.Dp + QUERIES * (s.Tp + s.Dp));
  float *keys = room.take(s.D * s.Tp), *values = room.take(s.T * s.Dp);
  float *scores = room.take(QUERIES * s.Tp), *gathered = room.take(QUERIES * s.Dp);
  turn(q + s.C, s.row, s.T, s.D, s.scale, keys, s.Tp);
  copy(q + 2 * s.C, s.row, s.T, s.D, values, s.Dp);
  for (long first = 0; first < s.T; first += QUERIES) {
    const long n = least(QUERIES, s.T - first), width = rounded_up(first + n);
    product(n, width, s.D, q + first * s.row, s.row, 1, keys, s.Tp, scores, s.Tp, false);
    for (long i = 0; i < n; i++) log_sums[first + i] = softmax(scores + i * s.Tp, first + i + 1, width);
    product(n, s.Dp, first + n, scores, s.Tp, 1, values, s.Dp, gathered, s.Dp, false);
    copy_back(gathered, s.Dp, n, s.D, y + first * s.C, s.C);
  }
}

// Make probabilities of scores, and scores' gradients of the probabilities' ones (one row each).
void softmax_backward(float* scores, float* gradients, long seen, long width, float log_sum, float inner,
                      float scale) {
  for (long j = 0; j < width; j += LANES) {
    const Vector probabilities = exponential(load(scores + j) - log_sum);
    store(scores + j, probabilities);
    store(gradients + j, probabilities * (load(gradients + j) - inner) * scale);
  }
  for (long j = seen; j < width; j++) scores[j] = gradients[j] = 0;
}

// With P = softmax(S), S = scale Q K', Y = P V: dV = P' dY, dS = P (dY V' - rows of sum(Y dY)), and so on.
void head_backward(const Shape& s, const float* q, const float* y, const float* log_sums, const float* dy,
                   float* dq) {
  Room room(2 * s.D * s.Tp + 5 * s.T * s.Dp + QUERIES * (2 * s.Tp + s.Dp));
  float *keys = room.take(s.D * s.Tp), *values = room.take(s.D * s.Tp);
  float *q_rows = room.take(s.T * s.Dp), *k_rows = room.take(s.T * s.Dp), *dy_rows = room.take(s.T * s.Dp);
  float *dk = room.take(s.T * s.Dp), *dv = room.take(s.T * s.Dp);
  float *scores = room.take(QUERIES * s.Tp), *gradients = room.take(QUERIES * s.Tp);
  float* part = room.take(QUERIES * s.Dp);
  turn(q + s.C, s.row, s.T, s.D, s.scale, keys, s.Tp);
  turn(q + 2 * s.C, s.row, s.T, s.D, 1, values, s.Tp);
  copy(q, s.row, s.T, s.D, q_rows, s.Dp);
  copy(q + s.C, s.row, s.T, s.D, k_rows, s.Dp);
  copy(dy, s.C, s.T, s.D, dy_rows, s.Dp);
  memset(dk, 0, 2 * s.T * s.Dp * sizeof(float));  // and dv behind it
  for (long first = 0; first < s.T; first += QUERIES) {
    const long n = least(QUERIES, s.T - first), seen = first + n, width = rounded_up(seen);
    product(n, width, s.D, q + first * s.row, s.row, 1, keys, s.Tp, scores, s.Tp, false);
    product(n, width, s.D, dy + first * s.C, s.C, 1, values, s.Tp, gradients, s.Tp, false);
    for (long t = first; t < seen; t++)
      softmax_backward(scores + (t - first) * s.Tp, gradients + (t - first) * s.Tp, t + 1, width, log_sums[t],
                       inner_product(y + t * s.C, dy + t * s.C, s.D), s.scale);
    product(n, s.Dp, seen, gradients, s.Tp, 1, k_rows, s.Dp, part, s.Dp, false);
    copy_back(part, s.Dp, n, s.D, dq + first * s.row, s.row);
    product(seen, s.Dp, n, gradients, 1, s.Tp, q_rows + first * s.Dp, s.Dp, dk, s.Dp, true);
    product(seen, s.Dp, n, scores, 1, s.Tp, dy_rows + first * s.Dp, s.Dp, dv, s.Dp, true);
  }
  copy_back(dk, s.Dp, s.T, s.D, dq + s.C, s.row);
  copy_back(dv, s.Dp, s.T, s.D, dq + 2 * s.C, s.row);
}

}  // namespace

extern "C" {

// qkv (B, T, 3, H, D) -> y (B, T, H, D), log_sums (B, H, T)
void causal_attention(const float* qkv, float* y, float* log_sums, long B, long T, long H, long D, int threads) {
  const Shape shape(T, H, D);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (long head = 0; head < B * H; head++) {
    const long b = head / H, h = head % H;
    head_forward(shape, qkv + b * T * shape.row + h * D, y + b * T * shape.C + h * D, log_sums + head * T);
  }
}

// dy (B, T, H, D) -> dqkv (B, T, 3, H, D)
void causal_attention_backward(const float* qkv, const float* y, const float* log_sums, const float* dy,
                               float* dqkv, long B, long T, long H, long D, int threads) {
  const Shape shape(T, H, D);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (long head = 0; head < B * H; head++) {
    const long b = head / H, h = head % H, inside = b * T * shape.row + h * D, out = b * T * shape.C + h * D;
    head_backward(shape, qkv + inside, y + out, log_sums + head * T, dy + out, dqkv + inside);
  }
}
}
