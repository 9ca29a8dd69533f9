#include "kernels/op/check.h"

#include <sstream>

namespace wan::kernels {
namespace {

bool fits(at::IntArrayRef sizes, at::IntArrayRef want) {
  for (size_t i = 0; i < want.size(); ++i)
    if (want[i] != kAny && want[i] != sizes[i]) return false;
  return true;
}

std::string text(at::IntArrayRef want, bool leading) {
  std::ostringstream out;
  const char* separator = "[";
  if (leading) out << separator << "...", separator = ", ";
  for (int64_t size : want) {
    out << separator;
    size == kAny ? out << '*' : out << size;
    separator = ", ";
  }
  out << ']';
  return out.str();
}

}  // namespace

void check_shape(const char* op, const char* name, const at::Tensor& tensor, at::IntArrayRef want) {
  TORCH_CHECK(tensor.defined(), "[", op, "] ", name, " must be ", text(want, false), ", got no tensor");
  TORCH_CHECK(tensor.sizes().size() == want.size() && fits(tensor.sizes(), want), "[", op, "] ", name, " must be ",
              text(want, false), ", got ", tensor.sizes());
}

void check_trailing(const char* op, const char* name, const at::Tensor& tensor, at::IntArrayRef want) {
  TORCH_CHECK(tensor.defined(), "[", op, "] ", name, " must be ", text(want, true), ", got no tensor");
  at::IntArrayRef sizes = tensor.sizes();
  TORCH_CHECK(sizes.size() >= want.size() && fits(sizes.slice(sizes.size() - want.size()), want), "[", op, "] ", name,
              " must be ", text(want, true), ", got ", sizes);
}

void check_dtype(const char* op, const char* name, const at::Tensor& tensor,
                 std::initializer_list<at::ScalarType> allowed) {
  std::ostringstream wanted;
  for (at::ScalarType dtype : allowed) {
    if (tensor.scalar_type() == dtype) return;
    wanted << (wanted.tellp() > 0 ? " or " : "") << dtype;
  }
  TORCH_CHECK(false, "[", op, "] ", name, " must be ", wanted.str(), ", got ", tensor.scalar_type());
}

void check_segments(const char* op, const at::Tensor& x, std::initializer_list<std::pair<const char*, at::Tensor>> rows,
                    at::IntArrayRef ends) {
  check_shape(op, "x", x, {kAny, kAny, kAny});
  check_dtype(op, "x", x, {at::kFloat, at::kDouble});
  for (const auto& [name, row] : rows)
    if (row.defined()) check_shape(op, name, row, {int64_t(ends.size()), x.size(2)});
  int64_t start = 0;
  for (int64_t end : ends) {
    TORCH_CHECK(start <= end, "[", op, "] the ends of the segments must rise, got ", end, " after ", start);
    start = end;
  }
  TORCH_CHECK(start == x.size(1), "[", op, "] the last segment must end at ", x.size(1), " tokens, got ", start);
}

}  // namespace wan::kernels
