// Work on the CPU whose bytes do not depend on the number of threads: it is cut into pieces of a fixed size, and each
// piece is one thread's. ATen and its libraries cut by the number of threads: partial sums then add up in another order,
// and the last values of a part, which fill no vector, come from other instructions than the rest.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace wan::kernels {

/// Makes a sum of products independent of where its operands lie in memory. The first thing a program's main() calls: MKL
/// reads it once. Without it, products in AVX-512 give other last bits with other numbers of threads and from run to run.
/// Its cost there is not measured well: one run gave a transformer block 10 % more.
void fix_order_of_sums();

/// Calls work(i) for each i below `count` on all threads. Inside, the libraries use no threads of their own, also where
/// `count` is 1.
void in_pieces(int64_t count, const std::function<void(int64_t i)>& work);

/// Applies an operation that computes each value from itself (at::silu_, at::gelu_) to x in place. x is contiguous; on
/// other devices than the CPU, and where it wants gradients, the operation gets it whole.
void elementwise_(const at::Tensor& x, const std::function<void(at::Tensor& piece)>& operation);

/// The sum of all values in float64.
double sum_in_pieces(const at::Tensor& x);

/// A factor of a sum of products: rows [M, K], whose rows may lie apart, and weight [N, K].
struct Product {
  at::Tensor rows, weight;
};

/// The sum over `products` of rows times weight transposed, plus bias [N] where it is defined: [M, N]. All of one
/// floating dtype, on the CPU.
at::Tensor sum_of_products(const std::vector<Product>& products, const at::Tensor& bias);

}  // namespace wan::kernels
