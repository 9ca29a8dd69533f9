#include "kernels/check.h"

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

}  // namespace wan::kernels
