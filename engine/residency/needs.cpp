#include "engine/residency/needs.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/geometry.h"
#include "engine/residency/open_network.h"
#include "engine/residency/placed_bytes.h"
#include "engine/residency/planned_network.h"
#include "engine/residency/tile_needs.h"
#include "kernels/dequantise/fp8_product.h"

namespace wan {

namespace {

std::string picture(const Extent& extent) {
  return std::to_string(extent.width) + "x" + std::to_string(extent.height);
}

/// Of decoding alone: activations and, on a device, weights.
uint64_t decode_bytes(const ModelParts& parts, const Extent& extent, const Placement& placement,
                      const VaeTiles& tiles) {
  const int64_t rows = tiles.of(placement.vae), width = vae_width(parts);
  return placed_bytes(Network::Vae, parts, placement) +
         (rows > 0 ? tile_needs(width, extent, placement.vae, rows).device : vae_bytes(width, extent, placement.vae));
}

bool is_transformer(Network network) {
  return network == Network::HighNoise || network == Network::LowNoise || network == Network::Speech;
}

}  // namespace

Extent largest_extent(const Request& request) {
  // Memory follows the area alone; a multiple more for the rounding.
  const int64_t step = request.task == Task::S2V ? 64 : 16;
  const int64_t side = int64_t(std::sqrt(double(area_of(request.resolution)))) / step * step + step;
  const Size size = request.width > 0 ? Size{request.width, request.height} : Size{side, side};
  // The tokens of the picture and of the past come to those of three more latent frames at most.
  if (request.task == Task::S2V) return {4 * (request.rendered_frames() / 4 + 3) - 3, size.height, size.width};
  return {request.rendered_frames(), size.height, size.width};
}

// Rows are those of all tokens, `dim` wide. The second branch's stream is there from the first block's text on.
uint64_t denoise_bytes(const WanConfig& config, const Extent& extent, const Placement& placement, bool copied) {
  const uint64_t tokens = uint64_t(extent.tokens()), element = c10::elementSize(placement.dtype);
  const uint64_t row = tokens * uint64_t(config.dim), hidden = tokens * uint64_t(config.ffn_dim);
  const uint64_t streams = 2 * row * 4;  // both branches' residuals, float32
  // q, k and v as one product, which stays until the attention has run; rotated q and k; its output.
  const uint64_t joined = (3 + 2 + 1) * row * element;
  // On the CPU the norm and the rotation of k: beside q, k, v and rotated q its values in float32, in 16 bits before and
  // after the norm.
  const uint64_t rotation = 4 * row * element + (element < 4 ? 2 : 1) * row * 4;
  uint64_t attention = placement.device.is_cpu() ? std::max(rotation, copied ? joined : 0) : joined;
  uint64_t feed_forward = 2 * row * element + hidden * element;  // normed input, output
  // Rows of a product in fp8 on their way to codes, and its sums.
  if (placement.precision == Precision::Fp8)
    feed_forward += 6 * uint64_t(kernels::kFp8RowBlock) * uint64_t(config.ffn_dim) * 4;
  if (is_int8(placement.precision)) {
    // Codes of q, k and v; what stands in for the kernels on the CPU holds four of them in float32 on the way there.
    attention += (placement.device.is_cpu() ? 3 + 4 * 4 : 3) * row;
    feed_forward += hidden;
  }
  const uint64_t texts = 2 * 2 * uint64_t(config.num_layers * config.text_len * config.dim) * element;
  return streams + std::max(attention, feed_forward) + texts;
}

uint64_t reuse_bytes(const WanConfig& config, const Extent& extent) {
  return 3 * uint64_t(extent.tokens()) * uint64_t(config.dim) * sizeof(float);
}

uint64_t vae_bytes(int64_t base_width, const Extent& extent, at::ScalarType dtype, vae::Windows windows) {
  // In frames of the base width at full size: the caches of all layers come to 25 (their own windows to 69), a chunk's
  // buffers at the largest level to 18 (window of 6, two results of 4, the level below).
  const uint64_t frames = (windows == vae::Windows::Own ? 69 : 25) + 18;
  return frames * uint64_t(base_width * extent.height * extent.width) * c10::elementSize(dtype);
}

vae::Windows windows_for(const Placement& placement, uint64_t own_bytes, uint64_t available) {
  return placement.device.is_cuda() && own_bytes <= available ? vae::Windows::Own : vae::Windows::Shared;
}

uint64_t widened_bytes(const ModelParts& parts, const Placement& placement) {
  bool coded = placement.weights == Kept::Fp8 || placement.weights == Kept::Int8;
  for (const auto& [network, part] : parts.networks)
    coded = coded || (is_transformer(network) && open_network(network, parts).is_coded());
  return coded ? kernels::kWidenedTileBytes : 0;
}

int64_t vae_width(const ModelParts& parts) {
  const Checkpoint vae = open_network(Network::Vae, parts);
  const auto input = vae.tensors().find("encoder.conv1.weight");
  return input == vae.tensors().end() || input->second.shape.empty() ? 0 : input->second.shape[0];
}

void note_weights(const ModelParts& parts, const Placement& placement, Notes& notes) {
  if (placement.weights == Kept::Stored) return;
  Placement as_stored = placement;
  as_stored.weights = Kept::Stored;
  uint64_t most = 0, stored = 0;
  for (const auto& [network, part] : parts.networks) {
    if (!is_transformer(network)) continue;
    const uint64_t bytes = placed_bytes(network, parts, placement), own = placed_bytes(network, parts, as_stored);
    if (bytes <= std::max(own, most)) continue;
    most = bytes;
    stored = own;
  }
  if (most == 0) return;
  notes.add(
      {"weights",
       "a transformer takes " + gigabytes(most) + " in this form, and " + gigabytes(stored) + " as its file has it",
       "--weights stored keeps the file's form"});
}

void check_precision(const ModelParts& parts, const Placement& placement) {
  if (placement.precision != Precision::Fp8 || placement.weights == Kept::Fp8) return;
  for (const auto& [network, part] : parts.networks) {
    if (!is_transformer(network)) continue;
    for (const Weight& weight : planned_network(network, parts, placement).weights) {
      const InCodes* codes = std::get_if<InCodes>(&weight.storage());
      if (!codes || weight.role() != Role::Block) continue;
      for (const StoredPart& stored : codes->parts)
        if (stored.is_coded() && kernels::takes_fp8(*stored.codes)) return;
    }
  }
  throw InvalidRequest("precision",
                       "must be exact where no linear lies in E4M3 with a scale for the matrix or each row, got 'fp8'; "
                       "--weights fp8 makes such codes");
}

void refuse_wide_decode(const ModelParts& parts, const Extent& extent, const Placement& placement,
                        const VaeTiles& tiles) {
  Placement wide = placement;
  wide.vae = at::kFloat;
  throw std::runtime_error(
      "[decode] the clip exceeds the range of half precision, and float32 must hold " +
      gigabytes(decode_bytes(parts, extent, wide, tiles)) + (tiles.wide > 0 ? " in tiles" : "") + " at " +
      picture(extent) + " where half takes " + gigabytes(decode_bytes(parts, extent, placement, tiles)) + ", got " +
      placement.device.str() + " out of memory; `wan-infer decode LATENTS --device cpu` finishes " +
      "kept latents, and a smaller size needs less");
}

}  // namespace wan
