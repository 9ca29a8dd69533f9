// What fills the memory of a weight, as it lies on the host: host_parts of weight_storage.h.
#include <ATen/ATen.h>

#include "models/weights/own_int8.h"
#include "models/weights/weight_storage.h"

namespace wan {
namespace {

uint64_t bytes_of(const std::vector<Tensor>& tensors) {
  uint64_t sum = 0;
  for (const Tensor& tensor : tensors) sum += tensor.nbytes();
  return sum;
}

HostPart kept_part(std::vector<Tensor> tensors, std::vector<HostPart::Target> to) {
  const uint64_t bytes = bytes_of(tensors);
  return {std::move(to), std::move(tensors), nullptr, bytes};
}

HostPart made_part(const Form& form, const std::vector<StoredPart>& parts, std::vector<HostPart::Target> to,
                   const kernels::Context& context) {
  Form on_host = form;
  on_host.device = at::kCPU;
  const uint64_t bytes = bytes_of(tensors_of(planned_copy(parts, form)));
  return {
      std::move(to), {}, [on_host, parts, &context] { return tensors_of(copy_of(parts, on_host, context)); }, bytes};
}

}  // namespace

std::vector<HostPart> host_parts(const Form& form, const std::vector<StoredPart>& parts,
                                 const kernels::Context& context) {
  std::vector<HostPart> found;
  if (form.codes == Codes::Fp8 || form.codes == Codes::Int8Kept) {
    found.push_back(made_part(form, parts, {{0, 0}, {1, 0}}, context));
    return found;
  }
  size_t tensor = 0;    // of codes that the file keeps: each part has its own
  uint64_t offset = 0;  // of rows that are joined
  for (const StoredPart& part : parts) {
    if (form.codes == Codes::Int8) {
      const uint64_t rows = uint64_t(part.shape().at(0));
      const std::vector<HostPart::Target> to = {{0, offset * uint64_t(part.shape().at(1))},
                                                {1, offset * sizeof(float)}};
      offset += rows;
      if (const auto own = own_int8(part))
        found.push_back(kept_part({own->codes, own->scale}, to));
      else
        found.push_back(made_part(form, {part}, to, context));
    } else if (form.codes == Codes::Stored && part.is_coded()) {
      std::vector<Tensor> tensors;
      tensors.reserve(2);
      tensors.push_back(part.codes->codes);
      if (part.codes->scale.defined()) tensors.push_back(part.codes->scale.contiguous());
      std::vector<HostPart::Target> to;
      while (to.size() < tensors.size()) to.push_back({tensor++, 0});
      found.push_back(kept_part(std::move(tensors), std::move(to)));
    } else {
      const bool is_stored = !part.is_coded() && part.dtype() == form.dtype && part.values.is_contiguous();
      const std::vector<HostPart::Target> to = {{form.codes == Codes::Stored ? tensor++ : 0, offset}};
      Form floats = form;
      floats.codes = Codes::None;
      found.push_back(is_stored ? kept_part({part.values}, to) : made_part(floats, {part}, to, context));
      if (form.codes != Codes::Stored) offset += found.back().bytes;
    }
  }
  return found;
}

}  // namespace wan
