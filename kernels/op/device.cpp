#include "kernels/op/device.h"

#include "kernels/op/card_name.h"

namespace wan::kernels {

bool use_libraries(const at::Tensor& x, const Context& context) {
  return kFusedBuilt && x.is_cuda() && !context.options().reference && !x.requires_grad();
}

bool use_fused(const at::Tensor& x, const Context& context) {
  return use_libraries(x, context) && cuda::has_kernels(x.device());
}

namespace cuda {

bool has_wgmma(at::Device device) {
  return architecture(device) == 90;
}

Instructions instructions_on(at::Device device, const Context& context) {
  const bool wgmma = context.wgmma() == Wgmma::On && device.is_cuda() && has_wgmma(device);
  return wgmma ? Instructions::Wgmma : Instructions::Mma;
}

bool has_float8_mma(at::Device device) {
  const int own = architecture(device);
  return own == kFloat8Architecture || own >= 120;
}

bool multiplies_float8(at::Device device, const Context& context) {
  return has_float8_mma(device) || instructions_on(device, context) == Instructions::Wgmma;
}

std::string text_of(const MeasuredCard& card) {
  return card.name + " sm_" + std::to_string(card.architecture) + ", torch " + card.torch + ", cuDNN " +
         std::to_string(card.cudnn) + ", driver " + std::to_string(card.driver);
}

}  // namespace cuda
}  // namespace wan::kernels
