#include "kernels/op/pieces.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/util/ParallelGuard.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <numeric>

namespace wan::kernels {
namespace {

/// Rows and columns of a tile of a product: so many that packing both operands costs little beside it, so few that
/// 2,000 tokens keep 16 cores busy.
constexpr int64_t kTile = 512;
/// Values of a piece: 256 KiB in float32, what one core's cache holds.
constexpr int64_t kPiece = int64_t(1) << 16;

int64_t pieces(int64_t length, int64_t piece) {
  return (length + piece - 1) / piece;
}

}  // namespace

void fix_order_of_sums() {
  setenv("MKL_CBWR", "AUTO,STRICT", /*overwrite=*/0);
}

void in_pieces(int64_t count, const std::function<void(int64_t i)>& work) {
  std::atomic<int64_t> next{0};
  std::atomic_flag failed;
  std::exception_ptr failure;
#pragma omp parallel
  {
    // oneDNN chooses its blocks by this number, though it runs on one thread in here. A new thread of ATen's sets it
    // once, when it is first asked for.
    at::get_num_threads();
    omp_set_num_threads(1);
    c10::ParallelGuard parallel(true);
    at::AutoDispatchBelowADInplaceOrView guard;  // inference mode does not reach the worker threads by itself
    try {
      for (int64_t i; (i = next++) < count;) work(i);
    } catch (...) {
      next = count;
      if (!failed.test_and_set()) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void elementwise_(const at::Tensor& x, const std::function<void(at::Tensor& piece)>& operation) {
  at::Tensor whole = x.view({-1});
  if (!x.is_cpu() || x.requires_grad()) return operation(whole);
  in_pieces(pieces(x.numel(), kPiece), [&](int64_t i) {
    at::Tensor piece = whole.narrow(0, i * kPiece, std::min(kPiece, x.numel() - i * kPiece));
    operation(piece);
  });
}

double sum_in_pieces(const at::Tensor& x) {
  const at::Tensor whole = x.reshape({-1});
  std::vector<double> sums(size_t(pieces(whole.numel(), kPiece)));
  in_pieces(int64_t(sums.size()), [&](int64_t i) {
    const at::Tensor piece = whole.narrow(0, i * kPiece, std::min(kPiece, whole.numel() - i * kPiece));
    sums[size_t(i)] = piece.sum(at::kDouble).item<double>();
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

at::Tensor sum_of_products(const std::vector<Product>& products, const at::Tensor& bias) {
  const int64_t height = products[0].rows.size(0), width = products[0].weight.size(0);
  const at::Tensor y = at::empty({height, width}, products[0].rows.options());
  const int64_t down = pieces(height, kTile), across = pieces(width, kTile);
  in_pieces(down * across, [&](int64_t tile) {
    const int64_t row = tile % down * kTile, column = tile / down * kTile;
    const int64_t rows = std::min(kTile, height - row), columns = std::min(kTile, width - column);
    at::Tensor part = y.narrow(0, row, rows).narrow(1, column, columns);
    for (size_t i = 0; i < products.size(); ++i) {
      const at::Tensor left = products[i].rows.narrow(0, row, rows),
                       right = products[i].weight.narrow(0, column, columns).t();
      if (i > 0)
        part.addmm_(left, right);
      else if (bias.defined())
        at::addmm_out(part, bias.narrow(0, column, columns), left, right);
      else
        at::mm_out(part, left, right);
    }
  });
  return y;
}

}  // namespace wan::kernels
