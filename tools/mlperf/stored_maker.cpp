#include "tools/mlperf/stored_maker.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/frames/decode.h"
#include "engine/request/parse.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/fit.h"
#include "engine/residency/model_check.h"
#include "engine/residency/open_network.h"
#include "engine/sampling/guidance.h"
#include "tools/bench/networks.h"

namespace wan::mlperf {
namespace {

struct SilentProgress : Progress {
  void at(const Report&) override {}
};

Request request_of(const std::string& model, const std::string& precision, const std::string& device,
                   const Settings& settings) {
  return parse(Task::T2V,
               {{"unlocked", true},
                {"model", model},
                {"precision", precision},
                {"device", device},
                {"prompt", "of a file"},
                {"width", settings.width},
                {"height", settings.height},
                {"num_frames", settings.frames},
                {"num_inference_steps", settings.steps},
                {"guidance_scale", settings.guidance},
                {"guidance_scale_2", settings.guidance_2},
                {"boundary", settings.boundary},
                {"shift", settings.shift},
                {"solver", settings.solver},
                {"seed", 0}},
               {.check_files = false});
}

class StoredMaker : public VideoMaker {
 public:
  StoredMaker(const Request& request, const Settings& settings, const kernels::Options& options)
      : settings_(settings),
        precision_(request.precision),
        contexts_(options),
        parts_(checked(find_parts(request))),
        placement_(resolve_placement(request, &contexts_)),
        fit_(fitting(request)),
        networks_(parts_, placement_, fit_.activations, log_),
        tokenizer_(open_tokenizer(parts_)),
        config_(transformer_config(parts_)) {
    networks_.take_tiles(fit_.tiles);
  }

  at::Device device() const override { return placement_.device; }
  std::string precision() const override { return precision_; }
  std::string weights() const override {
    std::string text;
    for (const auto& [network, part] : parts_.networks) text += (text.empty() ? "" : ", ") + part.name;
    return text;
  }
  Work work() const override {
    const auto [channels, frames, height, width] = settings_.latent_shape();
    const bool official = config_.dim == kWanT2vA14b.dim;
    return {double(config_.num_layers) * bench::block_flops(config_, double(settings_.tokens())),
            official ? bench::decode_flops(frames, height, width) : 0};
  }

  Tensor text(const std::string& prompt) override { return networks_.text_encoder()(tokenizer_.encode(prompt)); }

  void begin(const Tensor& positive, const Tensor& negative, const Schedule& schedule) override {
    const int64_t first_low = schedule.first_low();
    const bool switches = first_low > 0 && first_low < schedule.size();
    guidance_.emplace(networks_, Conditioning{positive, negative, {}},
                      ForwardOptions{.last_high = switches ? &schedule[first_low - 1] : nullptr});
  }

  kernels::Velocity velocity(const Step& step, const Tensor& x) override { return (*guidance_)(step, x); }

  void decode(const Tensor& latents, int64_t frames, const TakeFrames& take) override {
    guidance_.reset();  // texts make room
    decode_frames(networks_, latents, frames, {log_, progress_}, take);
  }

 private:
  static ModelParts checked(ModelParts parts) {
    check_model(parts);
    return parts;
  }
  Fit fitting(const Request& request) const {
    Fit fit = fit_of(request, parts_, placement_);
    fit.check();
    return fit;
  }

  const Settings settings_;
  const std::string precision_;
  const Log log_ = {};
  SilentProgress progress_;
  Contexts contexts_;
  const ModelParts parts_;
  const Placement placement_;
  const Fit fit_;
  Networks networks_;
  const wan::text::Tokenizer tokenizer_;
  const WanConfig config_;
  std::optional<Guidance> guidance_;
};

}  // namespace

std::unique_ptr<VideoMaker> stored_maker(const std::string& model, const std::string& precision,
                                         const std::string& device, const Settings& settings,
                                         const kernels::Options& options) {
  return std::make_unique<StoredMaker>(request_of(model, precision, device, settings), settings, options);
}

}  // namespace wan::mlperf
