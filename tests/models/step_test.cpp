// What a step of the transformer does, at the real sizes and without a number: on shapes alone ("meta" tensors) every
// operation is seen on its way through ATen's dispatcher.
#include <ATen/ExpandUtils.h>
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
  library.impl("where.self", [](const Tensor& condition, const Tensor& x, const Tensor& other) {
    return at::empty(at::infer_size(at::infer_size(condition.sizes(), x.sizes()), other.sizes()), x.options());
  });
  library.impl("abs.out", [](const Tensor& x, Tensor& out) -> Tensor& {
    out.resize_(x.sizes());
    return out;
  });
  library.impl(
      "nan_to_num.out",
      [](const Tensor& x, std::optional<double>, std::optional<double>, std::optional<double>, Tensor& out) -> Tensor& {
        out.resize_(x.sizes());
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
    handle_ =
        at::addThreadLocalCallback(at::RecordFunctionCallback(
                                       [](const at::RecordFunction& call) -> std::unique_ptr<at::ObserverContext> {
                                         see(call);
                                         return nullptr;
                                       },
                                       [](const at::RecordFunction& call, at::ObserverContext*) { see_end(call); })
                                       .needsInputs(true)
                                       .needsOutputs(true)
                                       .scopes({at::RecordScope::FUNCTION}));
    products = rows = rounded_norms = 0;
    quantised.clear();
    waits.clear();
  }
  ~Observed() {
    at::removeCallback(handle_);
    normed = Tensor();
  }

  inline static int64_t products, rows;                // at::linear's calls, and the rows of their inputs
  inline static int64_t rounded_norms;                 // layer norms whose result becomes another dtype
  inline static std::map<int64_t, int64_t> quantised;  // how many tensors of so many rows were
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
    // Neither heads nor anything else of the step is quantised in rows of a layer's width. Inside, the form with a
    // given output is called, which has one input more.
    if (name == "aten::nan_to_num" && inputs.size() == 4 && inputs[0].toTensor().size(-1) >= kWanT2vA14b.dim) {
      const Tensor& x = inputs[0].toTensor();
      ++quantised[x.numel() / x.size(-1)];
    }
    if (name == "aten::_to_copy" && normed.defined() && inputs[0].toTensor().is_same(normed)) ++rounded_norms;
    // The host waits where it reads a value, and where it copies to or from a device unless that need not be done yet.
    if (name == "aten::_local_scalar_dense") waits.push_back(name);
    if (name == "aten::copy_" && inputs[0].toTensor().device() != inputs[1].toTensor().device() && !inputs[2].toBool())
      waits.push_back(name);
  }

  static void see_end(const at::RecordFunction& call) {
    if (std::string_view(call.name()) == "aten::native_layer_norm") normed = call.outputs().at(0).toTensor();
  }

  at::CallbackHandle handle_;
  inline static Tensor normed;  // by the last norm
};

class WanStep : public testing::Test {
 protected:
  static WanModel model_of_shapes(int64_t layers = kLayers, Precision precision = Precision::Exact) {
    WanConfig config = kWanT2vA14b;
    config.num_layers = layers;
    Weights weights(Checkpoint::names_only(published_tensors("official_dit_t2v_a14b"), "shapes"),
                    Place::on(at::Device(at::kCUDA, 0), at::kBFloat16, precision).planned());
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

TEST_F(WanStep, NormsGiveEightBitLinearsTheirCodes) {
  constexpr int64_t kThree = 3, kTokens = 15 * 26;  // a first, a middle and a last block; one frame of 480p
  const Tensor frame = at::empty({16, 1, 30, 52}, like_);
  const auto step = [&](Precision precision) {
    const WanModel model = model_of_shapes(kThree, precision);
    Context prompt = model.context(at::empty({37, 4096}, like_));
    const Rope rope = model.rope(frame);
    model(frame, rope, 900, {&prompt});
    const Observed seen;
    model(frame, rope, 800, {&prompt});
  };
  step(Precision::Exact);
  EXPECT_EQ(Observed::rounded_norms, kThree * 3);
  EXPECT_EQ(Observed::quantised[kTokens], 0);
  // Codes of norm1 (once for q, k and v), norm2, and norm3 of the middle block; of what o, o and the second linear of
  // the feed-forward read. The text's queries of the outer blocks have kept 16 bits.
  step(Precision::Balanced);
  EXPECT_EQ(Observed::rounded_norms, 2);
  EXPECT_EQ(Observed::quantised[kTokens], kThree * (2 + 3) + 1);
}

/// What lives in memory while it lives, of the tensors that operations give: views and in-place results count once.
class Living {
 public:
  /// `tokens` of the step: a matrix with fewer rows is a weight.
  explicit Living(int64_t tokens) {
    tokens_ = tokens;
    living_.clear();
    peak = largest_weight = 0;
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(
            [](const at::RecordFunction&) -> std::unique_ptr<at::ObserverContext> { return nullptr; },
            [](const at::RecordFunction& call, at::ObserverContext*) { see_end(call); })
            .needsOutputs(true)
            .scopes({at::RecordScope::FUNCTION}));
  }
  ~Living() {
    at::removeCallback(handle_);
    living_.clear();
  }

  inline static uint64_t peak, largest_weight;  // bytes; the second: of tensors with fewer rows than a step has tokens

 private:
  static void see_end(const at::RecordFunction& call) {
    for (const c10::IValue& output : call.outputs())
      if (output.isTensor() && output.toTensor().defined()) see(output.toTensor());
  }

  static void see(const Tensor& tensor) {
    if (tensor.dim() == 2 && tensor.size(0) < tokens_)
      largest_weight = std::max(largest_weight, uint64_t(tensor.nbytes()));
    if (!living_.emplace(tensor.storage().unsafeGetStorageImpl(), tensor.storage().getWeakStorageImpl()).second) return;
    std::erase_if(living_, [](const auto& entry) { return entry.second.expired(); });
    uint64_t sum = 0;
    for (const auto& entry : living_) sum += entry.first->nbytes();
    peak = std::max(peak, sum);
  }

  at::CallbackHandle handle_;
  inline static int64_t tokens_;
  inline static std::map<c10::StorageImpl*, c10::weak_intrusive_ptr<c10::StorageImpl>> living_;
};

/// A form in which blocks' matrices lie in a file or are made at load, and the bytes of `elements` in rows of any length.
struct CodedForm {
  const char* name;
  std::optional<kernels::Code> code;  // of the file; nothing: floats
  Kept kept = Kept::Stored;
  bool scales = false;  // a float32 for each row beside the codes
};

constexpr CodedForm kForms[] = {{"Q4_K", kernels::Code::Q4_K},
                                {"Q8_0", kernels::Code::Q8_0},
                                {"fp8", kernels::Code::E4M3},
                                {"int8", kernels::Code::Int8},
                                {"fp8 made at load", {}, Kept::Fp8, true},
                                {"int8 made at load", {}, Kept::Int8, true}};

TEST_F(WanStep, ABlockInCodesTakesOneTileMoreThanTheSameInFloats) {
  const StoredTensors floats = published_tensors("official_dit_t2v_a14b");
  // The outer blocks' text queries have another role: their codes are never made at load.
  const std::string queries = "blocks.0.cross_attn.q.weight";
  uint64_t biases = 0, islands = 0;  // of the first block: its biases, what stays float32
  std::vector<std::string> matrices;
  for (const auto& [name, tensor] : floats) {
    const bool norm = name.find("norm") != std::string::npos || name.ends_with("modulation");
    const bool matrix = tensor.shape.size() == 2;
    if (!name.starts_with("blocks.0.")) continue;
    if (matrix && !norm) matrices.push_back(name);
    if (!matrix || norm) (norm ? islands : biases) += uint64_t(tensor.elements());
  }
  WanConfig config = kWanT2vA14b;
  config.num_layers = 1;
  const auto peak = [&](const CodedForm& form, int64_t frames) {
    StoredTensors tensors = floats;
    uint64_t want = 2 * biases + 4 * islands;
    for (const std::string& name : matrices) {
      StoredTensor& tensor = tensors.at(name);
      const auto elements = uint64_t(tensor.elements()), rows = uint64_t(tensor.shape[0]);
      if (form.code) {
        tensor.dtype = at::kFloat, tensor.coding = &kernels::coding_of(*form.code);
        want += elements / uint64_t(tensor.coding->elements) * uint64_t(tensor.coding->bytes);
      } else {
        const bool made = form.scales && name != queries;
        want += made ? elements + 4 * rows : 2 * elements;
      }
    }
    Weights weights(Checkpoint::names_only(tensors, "shapes"),
                    Place::on(at::Device(at::kCUDA, 0), at::kBFloat16, Precision::Exact, nullptr, form.kept).planned());
    const WanModel model(weights.root(), config, at::kBFloat16);
    EXPECT_EQ(bytes_of(weights.taken("blocks.0.")), want);
    Context prompt = model.context(at::empty({37, 4096}, like_));
    const Tensor latent = latent_.narrow(1, 0, frames);
    const Rope rope = model.rope(latent);
    const Pass pass = model.begin(rope, 900);
    std::vector<Branch> branch = {{model.embed(latent), &prompt}};
    const Living seen(frames * 45 * 80);
    model.block(0, branch, pass);
    return Living::peak;
  };
  // 81 frames in one form. What is beside the activations does not depend on their number: the others have two latent frames, a
  // few more tokens than a tile has rows.
  const uint64_t tile = uint64_t(kernels::kWidenedTileBytes);
  for (int64_t frames : {21, 2}) {
    const CodedForm floats = {"floats", {}};
    const uint64_t plain = peak(floats, frames), row = uint64_t(frames * 45 * 80) * 5120 * 2;
    EXPECT_TRUE(frames != 21 || plain < 15 * row) << plain;
    for (const CodedForm& form : frames == 21 ? std::span(kForms).first(1) : std::span(kForms).subspan(1)) {
      SCOPED_TRACE(form.name);
      const uint64_t in_codes = peak(form, frames);
      EXPECT_GT(Living::largest_weight, 0u);
      EXPECT_LE(Living::largest_weight, tile);
      // Q, k and v of a file are products of their own that are put side by side: one of them is there twice for a moment.
      EXPECT_LE(in_codes, plain + tile + row);
    }
  }
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
