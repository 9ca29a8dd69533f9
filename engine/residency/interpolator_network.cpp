#include "engine/residency/interpolator_network.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <bit>
#include <type_traits>
#include <utility>

#include "models/files/error.h"
#include "models/film/model.h"
#include "models/film/needs.h"
#include "models/recognise.h"
#include "models/rife/model.h"
#include "models/rife/needs.h"
#include "models/weights/scope.h"

namespace wan {

namespace {

constexpr uint64_t kMostRoom = uint64_t(8) << 30;

/// A quarter of what there is, whatever is free of it now.
uint64_t room_on(const Placement& placement) {
  const uint64_t host = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  const uint64_t all = placement.budget ? placement.budget->planned() : host;
  return std::min(kMostRoom, std::bit_floor(std::max<uint64_t>(all / 4, 1)));
}

/// A network of either model as the chain knows it.
template <typename Model>
class OfModel : public Interpolator {
 public:
  OfModel(std::unique_ptr<Model> model, at::Device device, at::ScalarType dtype)
      : model_(std::move(model)), device_(device), dtype_(dtype) {}

  at::Device device() const override { return device_; }
  at::ScalarType dtype() const override { return dtype_; }
  std::shared_ptr<const Frame> frame(const at::Tensor& rgb) const override {
    return std::make_shared<Held>(model_->frame(rgb));
  }
  at::Tensor between(const Frame& first, const Frame& second, double time) const override {
    return model_->between(dynamic_cast<const Held&>(first).frame, dynamic_cast<const Held&>(second).frame, time);
  }

 private:
  using ModelFrame = std::decay_t<decltype(std::declval<const Model&>().frame(at::Tensor()))>;
  struct Held : Frame {
    explicit Held(ModelFrame made) : frame(std::move(made)) {}
    const ModelFrame frame;
  };

  const std::unique_ptr<Model> model_;
  const at::Device device_;
  const at::ScalarType dtype_;
};

/// What the file is, where it is no interpolator or the other one.
void check_kind(const InterpolatorPart& part, const Checkpoint& checkpoint) {
  const bool film = part.model == "film";
  const std::string found = recognise(checkpoint.tensors()).name;
  if (found == interpolator_kind(part.model)) return;
  const bool other = found == interpolator_kind(film ? "rife" : "film");
  throw ModelError(
      part.file.path.string(),
      "must be the weights of " + std::string(film ? "FILM" : "RIFE") + ", is: " + found + "; " +
          "--interpolator names another file" +
          (other ? ", or --interpolator-model " + std::string(film ? "rife" : "film") + " takes this one" : ""));
}

Checkpoint open(const InterpolatorPart& part) {
  Checkpoint checkpoint = Checkpoint::open(part.file.path);
  check_kind(part, checkpoint);
  return checkpoint;
}

/// Builds the network and gives it to `use`, with its weights.
template <typename Use>
auto built(const InterpolatorPart& part, const Place& place, at::ScalarType dtype, Use use) {
  Weights weights(open(part), place);
  const auto made = [&]<typename Model>(std::unique_ptr<Model> model) {
    weights.finish();
    return use(std::move(model), weights);
  };
  if (part.model == "film") return made(std::make_unique<film::Model>(weights, film::Options{.dtype = dtype}));
  return made(std::make_unique<rife::Model>(weights, rife::Options{.dtype = dtype}));
}

Place place_on(const Placement& placement, at::ScalarType dtype) {
  return Place::on(placement.device, dtype, Precision::Exact, placement.context);
}

}  // namespace

at::ScalarType interpolator_dtype(const Placement& placement) {
  return placement.device.is_cuda() ? placement.vae : at::kFloat;
}

std::unique_ptr<Interpolator> load_interpolator(const InterpolatorPart& part, const Placement& placement) {
  const at::ScalarType dtype = interpolator_dtype(placement);
  return built(part, place_on(placement, dtype), dtype,
               [&]<typename Model>(std::unique_ptr<Model> model, const Weights&) -> std::unique_ptr<Interpolator> {
                 return std::make_unique<OfModel<Model>>(std::move(model), placement.device, dtype);
               });
}

void check_interpolator(const InterpolatorPart& part) {
  built(part, Place(), at::kFloat, [&](const auto&, const Weights& weights) {
    const Checkpoint& checkpoint = weights.checkpoint();
    for (const auto& [name, stored] : checkpoint.tensors())
      if (const at::Tensor values = checkpoint.map(name);
          values.is_floating_point() && !values.isfinite().all().item<bool>())
        throw ModelError(part.file.path.string() + ": " + name,
                         "must be finite, has NaN or Inf: the file is damaged; download it again");
  });
}

uint64_t InterpolatorNeeds::peak(int64_t height, int64_t width) const {
  return peak_(height, width);
}

InterpolatorNeeds::Flops InterpolatorNeeds::flops(int64_t height, int64_t width) const {
  return flops_(height, width);
}

InterpolatorNeeds interpolator_needs(const InterpolatorPart& part, const Placement& placement) {
  InterpolatorNeeds needs;
  needs.dtype = interpolator_dtype(placement);
  needs.room = room_on(placement);
  built(part, place_on(placement, needs.dtype).planned(), needs.dtype,
        [&]<typename Model>(std::unique_ptr<Model> model, const Weights& weights) {
          needs.weights = bytes_of(weights.taken());
          if constexpr (std::is_same_v<Model, film::Model>) {
            needs.peak_ = [config = model->config(), dtype = needs.dtype, device = placement.device](int64_t height,
                                                                                                     int64_t width) {
              const film::Needs of = film::needs(config, height, width, {.dtype = dtype}, device);
              // Two frames more are held while midpoints lead to others.
              return uint64_t(of.peak_bytes + 2 * of.frame_bytes);
            };
            needs.flops_ = [config = model->config(), dtype = needs.dtype, device = placement.device](int64_t height,
                                                                                                      int64_t width) {
              const film::Needs of = film::needs(config, height, width, {.dtype = dtype}, device);
              return InterpolatorNeeds::Flops{of.frame_flops, of.pair_flops};
            };
          } else {
            needs.releases = rife::releases(model->version());
            needs.flops_ = [of = model->architecture()](int64_t height, int64_t width) {
              const rife::Work work = rife::work_of(of, height, width);
              return InterpolatorNeeds::Flops{work.frame, work.between};
            };
            needs.peak_ = [of = model->architecture(), dtype = needs.dtype,
                           threads = placement.device.is_cpu() ? at::get_num_threads() : 0](int64_t height,
                                                                                            int64_t width) {
              const rife::Memory memory = rife::memory_of(of, height, width, {.dtype = dtype}, threads);
              return uint64_t(2 * memory.frame + std::max(memory.encode, memory.between));
            };
          }
        });
  return needs;
}

}  // namespace wan
