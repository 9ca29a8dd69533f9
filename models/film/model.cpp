#include "models/film/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "models/film/warp.h"

namespace wan::film {
namespace {

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

std::string numbered(std::string_view name, int64_t level) {
  return std::string(name) + "." + std::to_string(level);
}

/// Zeros that a side of this length gets before and behind it; an odd one is behind.
struct Padding {
  Padding(int64_t length, int64_t alignment) : all((alignment - length % alignment) % alignment), before(all / 2) {}
  int64_t all, before;
};

/// Writes channels one part after the other.
class Writer {
 public:
  explicit Writer(const Tensor& out) : out_(out) {}
  Tensor next(int64_t channels) {
    at_ += channels;
    return out_.narrow(1, at_ - channels, channels);
  }

 private:
  Tensor out_;
  int64_t at_ = 0;
};

/// The input of the fusion at one level, some rows of it: the first picture and its features as the flow back to it says,
/// the second's as the flow on to it says, and both flows, all for the wanted time.
struct Alignment {
  const Frame &first, &second;
  const Tensor &backward, &forward;
  double time;
  size_t level;

  void operator()(const Tensor& out, int64_t first_row) const {
    Writer writer(out);
    for (const auto& [frame, flow, part] :
         {std::tuple(&first, &backward, time), std::tuple(&second, &forward, 1 - time)})
      for (const Tensor* source : {&frame->pictures[level], &frame->features[level]})
        warp_into(writer.next(source->size(1)), *source, *flow, part, first_row);
    writer.next(2).copy_(backward.narrow(2, first_row, out.size(2))).mul_(time);
    writer.next(2).copy_(forward.narrow(2, first_row, out.size(2))).mul_(1 - time);
  }
};

}  // namespace

int64_t Frame::bytes() const {
  int64_t sum = 0;
  for (const auto* tensors : {&pictures, &features, &own})
    for (const Tensor& tensor : *tensors) sum += tensor.defined() ? int64_t(tensor.nbytes()) : 0;
  return sum;
}

Model::Model(Weights& weights, const Options& options)
    : Model(weights.root(), Config::of(weights.checkpoint().tensors(), weights.checkpoint().label()), options) {}

Model::Model(const Scope& root, const Config& config, const Options& options)
    : config_(config),
      dtype_(options.dtype),
      output_(root / "fuse" / "output_conv", config.fusion[0], 3, 1, options.dtype) {
  const Scope extract = root / "extract" / "extract_sublevels" / "convs";
  for (int64_t sub = 0; sub < config.sub_levels; ++sub)
    sub_levels_.emplace_back(extract / sub, sub == 0 ? 3 : config.filters << (sub - 1), config.filters << sub, dtype_);

  // The file counts levels with weights of their own from the coarsest on.
  const Scope flow = root / "predict_flow";
  const int64_t own = int64_t(config.predictors.size()) - 1;
  for (int64_t level = 0; level <= own; ++level)
    predictors_.emplace_back(level < own ? flow / "_predictors" / (own - 1 - level) : flow / "_predictor",
                             config.features(level), config.predictors[size_t(level)], dtype_, options.band_bytes);

  const int64_t fused = int64_t(config.fusion.size());
  for (int64_t level = 0; level < fused; ++level) {
    const int64_t coarser = level + 1 < fused ? config.fusion[size_t(level) + 1] : config.aligned(fused);
    fusion_.emplace_back(root / "fuse" / "convs" / (fused - 1 - level), coarser, config.aligned(level),
                         config.fusion[size_t(level)], dtype_, options.band_bytes);
  }
}

const FlowPredictor& Model::predictor(int64_t level) const {
  return predictors_[size_t(std::min(level, int64_t(predictors_.size()) - 1))];
}

Frame Model::frame(const Tensor& rgb) const {
  TORCH_CHECK(rgb.dim() == 4 && rgb.size(0) == 1 && rgb.size(1) == 3 && rgb.size(2) > 0 && rgb.size(3) > 0,
              "[film] a frame must be [1, 3, H, W], got ", rgb.sizes());
  TORCH_CHECK(rgb.scalar_type() == dtype_, "[film] a frame must be in ", dtype_, ", got ", rgb.scalar_type());
  Frame frame{.pictures = {}, .features = {}, .own = {}, .height = rgb.size(2), .width = rgb.size(3)};
  const Padding rows(rgb.size(2), config_.alignment()), columns(rgb.size(3), config_.alignment());
  const int64_t sides[] = {columns.before, columns.all - columns.before, rows.before, rows.all - rows.before};
  frame.pictures.push_back(at::constant_pad_nd(rgb, sides).contiguous(kChannelsLast));
  for (int64_t level = 1; level < config_.pyramid_levels; ++level)
    frame.pictures.push_back(at::avg_pool2d(frame.pictures.back(), 2, 2));
  frame.features = extract(frame.pictures);
  frame.pictures.resize(size_t(config_.fusion_levels()));
  for (int64_t level = 0; level < config_.pyramid_levels; ++level)
    frame.own.push_back(level >= kFirstOwn ? predictor(level).own(frame.features[size_t(level)]) : Tensor());
  return frame;
}

/// The features of a level are those that each finer picture gives there, too, pooled on the way: from the picture of this
/// level first, then from finer ones. Each picture goes through the sub-levels once.
std::vector<Tensor> Model::extract(const std::vector<Tensor>& pictures) const {
  const int64_t levels = config_.pyramid_levels;
  std::vector<Tensor> features(static_cast<size_t>(levels));
  for (int64_t start = 0; start < levels; ++start) {
    Tensor x = pictures[size_t(start)];
    for (int64_t sub = 0, channel = 0; sub < config_.sub_levels && start + sub < levels; ++sub) {
      if (sub > 0) x = at::avg_pool2d(x, 2, 2);
      x = sub_levels_[size_t(sub)](x);
      Tensor& level = features[size_t(start + sub)];
      const int64_t width = config_.features(start + sub);
      if (width == x.size(1)) {
        level = x;  // nothing else reaches it
      } else {
        if (!level.defined())
          level = at::empty({1, width, x.size(2), x.size(3)}, x.options().memory_format(kChannelsLast));
        level.narrow(1, channel, x.size(1)).copy_(x);
      }
      channel += x.size(1);
    }
  }
  return features;
}

std::vector<Tensor> Model::flows(const Frame& from, const Frame& to, std::string_view direction,
                                 const Observer& observe) const {
  std::vector<Tensor> flows(static_cast<size_t>(config_.fusion_levels()));
  Tensor flow;
  for (int64_t level = config_.pyramid_levels - 1; level >= 0; --level) {
    const Tensor& features = to.features[size_t(level)];
    if (flow.defined())
      flow = at::upsample_bilinear2d(flow, {features.size(2), features.size(3)}, /*align_corners=*/false).mul_(2);
    const auto warp = [&](const Tensor& out, int64_t first_row) {
      if (flow.defined())
        warp_into(out, features, flow, 1, first_row);
      else
        out.copy_(features.narrow(2, first_row, out.size(2)));
    };
    const Tensor residual = predictor(level)(from.features[size_t(level)], from.own[size_t(level)], warp);
    if (observe) observe(numbered(std::string(direction) + "_residual", level), residual);
    flow = flow.defined() ? flow.add_(residual) : residual;
    if (level < config_.fusion_levels()) flows[size_t(level)] = flow;
    if (observe && level < config_.fusion_levels()) observe(numbered(std::string(direction) + "_flow", level), flow);
  }
  return flows;
}

Tensor Model::between(const Frame& first, const Frame& second, double time, const Observer& observe) const {
  TORCH_CHECK(first.height == second.height && first.width == second.width, "[film] frames must be of one size, got ",
              first.height, "x", first.width, " and ", second.height, "x", second.width);
  TORCH_CHECK(time > 0 && time < 1, "[film] the time must be between 0 and 1, got ", time);
  const std::vector<Tensor> forward = flows(first, second, "forward", observe);
  const std::vector<Tensor> backward = flows(second, first, "backward", observe);
  const auto aligned = [&](size_t level) {
    return Alignment{first, second, backward[level], forward[level], time, level};
  };

  const size_t coarsest = fusion_.size();
  const Tensor& like = first.features[coarsest];
  Tensor x = at::empty({1, config_.aligned(int64_t(coarsest)), like.size(2), like.size(3)},
                       like.options().memory_format(kChannelsLast));
  aligned(coarsest)(x, 0);
  if (observe) observe(numbered("aligned", int64_t(coarsest)), x);
  for (size_t level = coarsest; level-- > 0;)
    x = fusion_[level](std::move(x), aligned(level), level == 0 ? &output_ : nullptr);
  if (observe) observe("raw", x);
  const Padding rows(first.height, config_.alignment()), columns(first.width, config_.alignment());
  const Tensor inside = x.narrow(2, rows.before, first.height).narrow(3, columns.before, first.width);
  return inside.clamp(0, 1).contiguous(at::MemoryFormat::Contiguous);
}

}  // namespace wan::film
