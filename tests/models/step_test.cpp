// What a step of the transformer does, at the real sizes and without a number: on shapes alone ("meta" tensors) every
// operation is seen on its way through ATen's dispatcher.
#include <ATen/record_function.h>
#include <torch/library.h>

#include "models/wan/model.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

/// ATen knows the shapes of all that the network calls but of these.
TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("native_layer_norm", [](const Tensor& x, at::IntArrayRef, const std::optional<Tensor>&,
                                       const std::optional<Tensor>&, double) {
    return std::make_tuple(at::empty_like(x), at::empty({}, x.options()), at::empty({}, x.options()));
  });
  library.impl("complex.out", [](const Tensor& real, const Tensor&, Tensor& out) -> Tensor& {
    out.resize_(real.sizes());
    return out;
  });
}

constexpr int64_t kLayers = 2;
/// 81 frames of 1280x720.
const std::vector<int64_t> kLatent = {16, 21, 90, 160};

/// What happened while it lived.
class Observed {
 public:
  Observed() {
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& call) -> std::unique_ptr<at::ObserverContext> {
          see(call);
          return nullptr;
        })
            .needsInputs(true)
            .scopes({at::RecordScope::FUNCTION}));
    products = rows = 0;
    waits.clear();
  }
  ~Observed() { at::removeCallback(handle_); }

  inline static int64_t products, rows;  // at::linear's calls, and the rows of their inputs
  inline static std::vector<std::string> waits;

 private:
  static void see(const at::RecordFunction& call) {
    const std::string name = call.name();
    const c10::ArrayRef<const c10::IValue> inputs = call.inputs();
    if (name == "aten::linear") {
      const Tensor& x = inputs[0].toTensor();
      ++products;
      rows += x.numel() / x.size(-1);
    }
    // The host waits where it reads a value, and where it copies to or from a device unless that need not be done yet.
    if (name == "aten::_local_scalar_dense") waits.push_back(name);
    if (name == "aten::copy_" && inputs[0].toTensor().device() != inputs[1].toTensor().device() && !inputs[2].toBool())
      waits.push_back(name);
  }

  at::CallbackHandle handle_;
};

class WanStep : public testing::Test {
 protected:
  static WanModel model_of_shapes() {
    WanConfig config = kWanT2vA14b;
    config.num_layers = kLayers;
    Weights weights(Checkpoint::names_only(published_tensors("official_dit_t2v_a14b"), "shapes"));
    return WanModel(weights.root(), config, at::kBFloat16);
  }
  Context context() const { return model_.context(at::empty({37, 4096}, like_)); }

  c10::InferenceMode inference_;
  at::TensorOptions like_ = at::TensorOptions(at::kMeta).dtype(at::kFloat);
  WanModel model_ = model_of_shapes();
  Tensor latent_ = at::empty(kLatent, like_);
  Rope rope_ = model_.rope(latent_);
};

TEST_F(WanStep, ComputesNothingTwice) {
  const int64_t tokens = 21 * 45 * 80, once = 1 + 1 + 1 + 1 + 2;  // patches; time: two and one; a head for each branch
  Context a = context(), b = context();
  const auto step = [&](double t) {
    const Observed seen;
    model_(latent_, rope_, t, {&a, &b});
    return Observed::products;
  };
  // The self-attention's two products (q, k and v are one) are shared in the first block; each branch has four more.
  // Keys and values of the text are made at the first step only.
  const int64_t blocks = 2 + 2 * 4 + (kLayers - 1) * 2 * (2 + 4), texts = kLayers * 2 * 2;
  EXPECT_EQ(step(900), once + blocks + texts);
  EXPECT_EQ(step(800), once + blocks);
  // The time embedding has one row, not one for each of 75,600 tokens.
  EXPECT_EQ(Observed::rows, (blocks + 1 + 2) * tokens + 3);
}

TEST_F(WanStep, NeverMakesTheHostWait) {
  Context a = context(), b = context();
  model_(latent_, rope_, 900, {&a, &b});
  const Observed seen;
  model_(latent_, rope_, 800, {&a, &b});
  EXPECT_EQ(Observed::waits, std::vector<std::string>());
}

}  // namespace
}  // namespace wan
