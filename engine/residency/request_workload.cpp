#include "engine/residency/request_workload.h"

#include <algorithm>
#include <optional>

#include "engine/request/schedule.h"
#include "engine/residency/interpolator_network.h"
#include "engine/residency/loras.h"
#include "engine/residency/model_reuse.h"
#include "engine/residency/needs.h"
#include "engine/residency/network_sizes.h"
#include "engine/residency/open_network.h"
#include "engine/residency/safety_network.h"
#include "engine/residency/tile_needs.h"

namespace wan {

namespace {

// Of the official VAE (96 channels), for each pixel of each frame: FLOPs of its convolutions and bytes that pass through
// memory around them. A convolution reaches less of the card than a matrix product does: it counts for more of them.
constexpr double kDecodeFlops = 8.56e6, kEncodeFlops = 5.12e6, kVaeBytes = 10.0e3, kConvolution = 1.6;
/// Bytes for each token and channel that norms, rotations, gates and activations of a block read and write: where they are
/// fused (a card) and where each is a pass of its own (the CPU).
constexpr double kFusedBytes = 52, kUnfusedBytes = 400;
/// Tokens of a long prompt; true tokens alone are computed.
constexpr double kPromptTokens = 256, kPrompts = 2;

constexpr int64_t kTextTokens = 512;

struct Shapes {
  WanConfig config;
  Placement placement;
  int64_t vae_width;
  uint64_t widened;      // bytes of the tile in which codes are widened
  double block_weights;  // of a block
  bool coded, encodes, copied;
  uint64_t lora_bytes = 0;  // of the branches beside one transformer, and of their work
  int64_t lora_values = 0;  // of their work, for each token
  double lora_flops = 0;    // of them in a block, for each token
  StepReuse reuse = {};
};

Work block_work(const Shapes& shapes, double tokens) {
  const double d = double(shapes.config.dim), f = double(shapes.config.ffn_dim), text = double(shapes.config.text_len);
  Work work;
  work.linear = 2 * tokens * (6 * d * d + 2 * d * f) + tokens * shapes.lora_flops;
  work.attention = 4 * tokens * tokens * d + 4 * tokens * text * d;
  work.bytes = tokens * d * (shapes.placement.device.is_cpu() ? kUnfusedBytes : kFusedBytes);
  if (shapes.coded) work.bytes += shapes.block_weights * (1 + 2 + 2);  // read as codes, written and read in 16 bits
  return work;
}

Work rest_work(const Shapes& shapes, double tokens) {
  const double d = double(shapes.config.dim), patch = double(WanConfig::patch_values());
  Work work;
  work.linear = 2 * tokens * d * patch * double(shapes.config.in_dim + shapes.config.out_dim);
  work.bytes = tokens * d * 16;
  return work;
}

Work vae_work(const Shapes& shapes, const Extent& extent, double flops) {
  const double wide = double(shapes.vae_width) / 96, pixels = double(extent.frames * extent.height * extent.width);
  Work work;
  work.linear = pixels * flops * kConvolution * wide * wide;
  work.bytes = pixels * kVaeBytes * wide;
  return work;
}

/// States and hidden rows of one prompt of full length, and the bias of its attention.
uint64_t text_bytes(const ModelParts& parts, const Placement& placement) {
  const Checkpoint headers = open_network(Network::TextEncoder, parts);
  const auto size = [&](const char* name, size_t axis) {
    const auto found = headers.tensors().find(name);
    return found == headers.tensors().end() || found->second.shape.size() <= axis ? 0 : found->second.shape[axis];
  };
  const uint64_t element = c10::elementSize(placement.dtype);
  const uint64_t dim = uint64_t(size("token_embedding.weight", 1));
  const uint64_t hidden = uint64_t(size("blocks.0.ffn.fc1.weight", 0));
  const uint64_t heads = uint64_t(size("blocks.0.pos_embedding.embedding.weight", 1));
  return uint64_t(kTextTokens) * (dim * (3 * 4 + 4 * element) + 3 * hidden * element) +
         heads * uint64_t(kTextTokens * kTextTokens) * (4 + element);
}

/// Of decoding alone.
Demand decode_demand(int64_t vae_width, const Extent& extent, const Placement& placement) {
  Demand demand;
  demand.vae_shared = vae_bytes(vae_width, extent, placement.vae);
  if (!placement.device.is_cpu()) demand.vae_own = vae_bytes(vae_width, extent, placement.vae, vae::Windows::Own);
  const TileNeeds tiles = tile_needs(vae_width, extent, placement.vae);
  demand.vae_tiles = tiles.device;
  demand.tiles_on_host = tiles.on_host;
  demand.tile_work = tiles.work;
  return demand;
}

Demand demand_of(const Shapes& shapes, const Extent& extent, const Work& text_work, uint64_t text) {
  Demand demand = decode_demand(shapes.vae_width, extent, shapes.placement);
  const double tokens = double(extent.tokens());
  demand.text = text;
  demand.denoise = denoise_bytes(shapes.config, extent, shapes.placement, shapes.copied) + shapes.widened +
                   shapes.lora_bytes +
                   uint64_t(extent.tokens()) * uint64_t(shapes.lora_values) * c10::elementSize(shapes.placement.dtype);
  demand.kept = kept_bytes(shapes.reuse, extent.tokens(), shapes.config.dim, c10::elementSize(shapes.placement.dtype));
  if (demand.kept > 0)
    demand.denoise = std::max(demand.denoise, demand.kept + reuse_bytes(shapes.config, extent) + shapes.lora_bytes);
  if (shapes.encodes) {
    demand.encode = demand.vae_shared;
    const TileNeeds tiles = encode_tile_needs(shapes.vae_width, extent, shapes.placement.vae);
    demand.encode_tiles = tiles.device;
    demand.encode_tiles_on_host = tiles.on_host;
    demand.encode_tile_work = tiles.work;
    demand.encode_work = vae_work(shapes, extent, kEncodeFlops);
  }
  demand.block = block_work(shapes, tokens);
  demand.rest = rest_work(shapes, tokens);
  demand.text_work = text_work;
  demand.decode_work = vae_work(shapes, extent, kDecodeFlops);
  return demand;
}

void count_steps(const Request& request, const StepReuse& reuse, Workload& workload) {
  const Schedule schedule = make_schedule(request);
  for (int64_t i = 0; i < schedule.size(); ++i) {
    const bool high = schedule[i].high && request.task != Task::S2V;
    const StepForwards& step = reuse.steps[size_t(i)];
    const int64_t reused = std::ranges::count(step.reuses, true),
                  computed = std::ranges::count(step.has, true) - reused;
    (high ? workload.high_steps : workload.low_steps) += computed > 0 ? 1 : 0;
    (high ? workload.high_forwards : workload.low_forwards) += computed;
    (high ? workload.high_reused : workload.low_reused) += reused;
  }
}

}  // namespace

namespace {

/// A demand with what an interpolator and a safety checker take beside the decoder.
std::function<Demand(const Extent&)> with_chain(std::function<Demand(const Extent&)> demand, const ModelParts& parts,
                                                const Placement& placement) {
  uint64_t checker = 0;
  if (!parts.safety_checker.path.empty()) {
    const SafetyNeeds needs = safety_needs(find_safety_checker(parts.safety_checker.path), placement);
    checker = needs.weights + needs.activations;
  }
  std::optional<InterpolatorNeeds> drawing;
  if (parts.interpolator.is_there()) drawing = interpolator_needs(parts.interpolator, placement);
  if (!drawing && checker == 0) return demand;
  return [demand = std::move(demand), drawing, checker](const Extent& extent) {
    Demand all = demand(extent);
    all.interpolation = checker + (drawing ? drawing->at(extent.height, extent.width) : 0);
    return all;
  };
}

}  // namespace

bool copies_on_cpu(const Placement& placement) {
  return placement.budget && placement.device.is_cpu();
}

Workload decode_workload(const ModelParts& parts, const Extent& extent, const Placement& placement) {
  Workload workload;
  workload.extent = extent;
  workload.networks[Network::Vae] = network_sizes(Network::Vae, parts, placement, copies_on_cpu(placement));
  workload.demand = with_chain(
      [width = vae_width(parts), placement](const Extent& size) { return decode_demand(width, size, placement); },
      parts, placement);
  return workload;
}

Placement placement_on_card(const Request& request) {
  Request on_cpu = request;
  on_cpu.device = on_cpu.noise_device = "cpu";
  Placement placement = resolve_placement(on_cpu);
  placement.device = placement.noise = at::Device(at::kCUDA, 0);
  placement.dtype = request.dtype == "float32" ? at::kFloat : at::kBFloat16;
  placement.vae = placement.dtype == at::kBFloat16 ? at::kHalf : at::kFloat;
  return placement;
}

Workload workload_of(const Request& request, const ModelParts& parts, const Placement& placement, bool copied) {
  Workload workload;
  workload.task = request.task;
  workload.extent = largest_extent(request);
  workload.eight_bit = placement.precision != Precision::Exact;
  workload.networks = network_sizes(parts, placement, copied);
  const StepReuse reuse = step_reuse(request, parts);
  count_steps(request, reuse, workload);

  const NetworkSizes& text = workload.networks.at(Network::TextEncoder);
  const NetworkSizes& transformer = workload.networks.at(parts.is_speech() ? Network::Speech : Network::HighNoise);
  Shapes shapes{.config = transformer_config(parts),
                .placement = placement,
                .vae_width = vae_width(parts),
                .widened = widened_bytes(parts, placement),
                .block_weights = 0,
                .coded = false,
                .encodes = request.task != Task::T2V,
                .copied = copied};
  shapes.coded = shapes.widened > 0;
  shapes.reuse = reuse;
  shapes.block_weights = transformer.block_flops / 2 / double(std::max<size_t>(transformer.blocks.size(), 1));
  if (!parts.loras.empty()) {
    const Loras loras(request, parts);
    const lora::BranchWork work = loras.work(placement.dtype);
    shapes.lora_bytes = loras.bytes(placement.dtype) + work.bytes;
    shapes.lora_values = work.values;
    shapes.lora_flops = loras.flops() / double(std::max<size_t>(transformer.blocks.size(), 1));
  }
  Work text_work;
  text_work.linear = text.block_flops * kPromptTokens * kPrompts;
  const uint64_t text_activations = text_bytes(parts, placement);
  workload.demand =
      with_chain([shapes, text_work, text_activations](
                     const Extent& extent) { return demand_of(shapes, extent, text_work, text_activations); },
                 parts, placement);
  return workload;
}

}  // namespace wan
