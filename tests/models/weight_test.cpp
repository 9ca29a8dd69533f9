// How weights lie by role and place, that they can be filled with other values where they lie, and what they take.
#include "models/weights/weight.h"

#include "models/files/error.h"
#include "models/umt5/encoder.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "models/wav2vec2/model.h"
#include "models/weights/format/safetensors.h"
#include "tests/small_checkpoint.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::filesystem::path kFolder = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano",
                            kNano = kFolder / "low_noise_model";
constexpr char kVae[] = "official_wan2_1_vae";

/// Places on the CPU: mapped files, and copies as a device has them.
Place copied(at::ScalarType compute = at::kFloat, Precision precision = Precision::Exact) {
  return {.compute = compute, .precision = precision, .mapped = false};
}
std::vector<Place> places(Precision precision) {
  return {Place{.precision = precision}, copied(at::kFloat, precision), copied(at::kBFloat16, precision)};
}

/// The memory of a weight's values.
const void* address(const Weight& weight) {
  return stored_tensor(weight.storage()).const_data_ptr();
}
std::vector<const void*> addresses(const std::vector<Weight>& weights) {
  std::vector<const void*> all;
  for (const Weight& weight : weights) all.push_back(address(weight));
  return all;
}

/// All bits of what is stored.
bool same_values(const Weight& a, const Weight& b) {
  if (const Int8Rows* rows = std::get_if<Int8Rows>(&a.storage())) {
    const Int8Rows& other = std::get<Int8Rows>(b.storage());
    return rows->rows.codes.equal(other.rows.codes) && rows->rows.scale.equal(other.rows.scale);
  }
  const Tensor &x = stored_tensor(a.storage()), &y = stored_tensor(b.storage());
  return x.equal(y) && x.strides() == y.strides();
}

TEST(Place, DecidesByRoleShapeAndPrecision) {
  const at::Device card(at::kCUDA, 0);
  const Place place = Place::on(card, at::kBFloat16, Precision::Balanced);
  const auto stored = [](at::IntArrayRef shape) {
    return std::vector<StoredPart>{at::empty(shape, at::TensorOptions(at::kMeta).dtype(at::kHalf))};
  };
  const auto form = [&](Role role, at::IntArrayRef shape, std::optional<at::ScalarType> own = {}) {
    return form_of(place, role, stored(shape), /*linear=*/true, own);
  };
  EXPECT_FALSE(place.mapped);
  EXPECT_TRUE(place.joins_rows());
  EXPECT_EQ(form(Role::Matmul, {8, 128}).dtype, at::kBFloat16);
  EXPECT_EQ(form(Role::Float32, {8, 128}).dtype, at::kFloat);
  EXPECT_EQ(form(Role::Float32, {8, 128}, at::kHalf).dtype, at::kHalf);
  EXPECT_EQ(form(Role::Float32, {8, 128}, at::kHalf).uploaded, at::kFloat);
  EXPECT_EQ(form(Role::Block, {8, 128}).device, card);
  EXPECT_EQ(form(Role::Table, {8, 128}).residence, Residence::Mapped);
  EXPECT_EQ(form(Role::Block, {8, 128}).residence, Residence::Copied);
  EXPECT_EQ(form(Role::Block, {8, 13824}).codes, Codes::Int8);
  EXPECT_EQ(form(Role::Block, {8, 192}).codes, Codes::None);  // no slice of 128
  EXPECT_EQ(form(Role::Block, {128}).codes, Codes::None);     // a bias
  EXPECT_EQ(form(Role::Matmul, {8, 128}).codes, Codes::None);
  EXPECT_EQ(form_of(Place::on(card, at::kBFloat16), Role::Block, stored({8, 128}), true).codes, Codes::None);
  EXPECT_TRUE(form_of(place.planned(), Role::Block, stored({8, 128}), true).device.is_meta());
  const auto kept = [&](Kept kept, Role role, bool linear = true) {
    return form_of(Place::on(card, at::kFloat, Precision::Exact, nullptr, kept), role, stored({8, 128}), linear);
  };
  EXPECT_EQ(kept(Kept::Fp8, Role::Block).codes, Codes::Fp8);
  EXPECT_EQ(kept(Kept::Int8, Role::Block).codes, Codes::Int8Kept);
  EXPECT_EQ(kept(Kept::Fp8, Role::Matmul).codes, Codes::None);
  EXPECT_EQ(kept(Kept::Fp8, Role::Block, /*linear=*/false).codes, Codes::None);
  for (Role role : {Role::Matmul, Role::Block}) EXPECT_EQ(kept(Kept::Bf16, role).dtype, at::kBFloat16);
  EXPECT_EQ(kept(Kept::Bf16, Role::Float32).dtype, at::kFloat);
  EXPECT_EQ(kept(Kept::Bf16, Role::Matmul, /*linear=*/false).dtype, at::kFloat);
  EXPECT_TRUE(Place::on(at::kCPU, at::kFloat).mapped);
  EXPECT_FALSE(Place::on(at::kCPU, at::kFloat).joins_rows());
}

TEST(Weight, AMappingIsTheFileAndACopyIsConverted) {
  const Checkpoint file = Checkpoint::open(kNano);
  const std::string name = "head.modulation";
  const Part part = {name, file.tensors().at(name).shape};
  const Weight mapping({part}, Role::Matmul, {}, {}, {file.map(name)});
  EXPECT_EQ(address(mapping), file.map(name).const_data_ptr());
  EXPECT_EQ(mapping.bytes(), 0u);
  const Weight copy({part}, Role::Matmul, {}, copied(at::kBFloat16), {file.map(name)});
  EXPECT_TRUE(copy.tensor().equal(file.map(name).to(at::kBFloat16)));
  EXPECT_EQ(copy.bytes(), uint64_t(2 * copy.tensor().numel()));
  EXPECT_EQ(copy.shape(), at::IntArrayRef(part.shape));
  EXPECT_EQ(copy.parts()[0].name, name);
  const Weight none;
  EXPECT_FALSE(none.defined() || none.tensor().defined() || none.takes_codes());
  EXPECT_EQ(none.bytes(), 0u);
  EXPECT_THROW(none.shape(), std::logic_error);
}

TEST(Weight, IsConvertedInPiecesWithoutAGap) {
  // More than one piece of 64 MB, and no whole number of them.
  const Tensor values = at::arange(17 * 1024 * 1024 + 3, at::kInt).remainder(251).to(at::kFloat);
  const Weight copy({{"long", values.sizes().vec()}}, Role::Matmul, {}, copied(at::kBFloat16), {values});
  EXPECT_TRUE(copy.tensor().equal(values.to(at::kBFloat16)));
}

TEST(Weight, ABlockRefilledWithAnotherComputesWhatTheOtherDoes) {
  at::manual_seed(21);
  const Checkpoint file = Checkpoint::open(kNano);
  for (Precision precision : {Precision::Exact, Precision::Balanced})
    for (const Place& place : places(precision)) {
      Weights weights(file, place);
      const WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), place.compute);
      const Tensor latent = at::randn({16, 1, 8, 8}), states = at::randn({5, 64});
      const auto through = [&](int64_t block) {
        Context context = model.context(states);
        std::vector<Branch> branch = {{model.embed(latent), &context}};
        model.block(block, branch, model.begin(model.rope(latent), 700));
        return branch[0].x;
      };
      const Tensor second = through(1), fourth = through(3);
      ASSERT_FALSE(second.equal(fourth));
      std::vector<Weight> slot = weights.taken("blocks.1.");
      ASSERT_GT(slot.size(), 15u);
      const std::vector<const void*> before = addresses(slot);
      refill(slot, file, "blocks.1.", "blocks.3.");
      EXPECT_TRUE(through(1).equal(fourth));
      EXPECT_TRUE(through(3).equal(fourth));
      EXPECT_EQ(addresses(slot) == before, !place.mapped);
      refill(slot, file, "blocks.1.", "blocks.1.");
      EXPECT_TRUE(through(1).equal(second));
    }
}

TEST(Weight, ARefillIsMadeAsTheFirstTimeWas) {
  const TemporaryFolder folder;
  const std::map<int64_t, int64_t> sizes = {{96, 8}, {192, 16}, {384, 32}, {1152, 96}};
  const auto all = [](const std::string&) { return true; };
  const Checkpoint first = small_checkpoint(folder / "1.safetensors", small_weights(kVae, sizes, all, 1));
  const Checkpoint second = small_checkpoint(folder / "2.safetensors", small_weights(kVae, sizes, all, 2));
  for (const Place& place : {Place{}, copied()})
    for (at::ScalarType dtype : {at::kFloat, at::kHalf}) {
      Weights weights(first, place), others(second, place);
      const vae::Vae model(weights, {.dtype = dtype}), other(others, {.dtype = dtype});
      std::vector<Weight> slot = weights.taken("");
      ASSERT_EQ(slot.size(), others.taken().size());
      const Weight folded = model.decoder.levels[0].up->folded;
      const void* before = address(folded);
      ASSERT_FALSE(same_values(folded, other.decoder.levels[0].up->folded));
      refill(slot, second, "", "");
      for (size_t i = 0; i < slot.size(); ++i)
        EXPECT_TRUE(same_values(slot[i], others.taken()[i])) << slot[i].parts()[0].name;
      EXPECT_EQ(address(folded), before);  // memory of its own even where the file is mapped
    }
}

TEST(Weight, AWeightOfTwoTensorsIsRefilledWithBoth) {
  const Tensor g = at::randn({1, 1, 4}), v = at::randn({6, 3, 4}), h = at::randn({1, 1, 4}), w = at::randn({6, 3, 4});
  const auto product = [](const std::vector<Tensor>& parts) { return parts[0] * parts[1]; };
  for (const Place& place : {Place{}, copied()}) {
    Weight weight({{"g", {1, 1, 4}}, {"v", {6, 3, 4}}}, Role::Float32, {.prepare = product}, place, {g, v});
    EXPECT_TRUE(weight.tensor().equal(g * v));
    EXPECT_EQ(weight.bytes(), 6 * 3 * 4 * sizeof(float));
    const void* before = address(weight);
    weight.refill({h, w});
    EXPECT_TRUE(weight.tensor().equal(h * w));
    EXPECT_EQ(address(weight), before);
    EXPECT_THROW(weight.refill({h}), c10::Error);
    EXPECT_THROW(weight.refill({w, h}), c10::Error);
  }
}

TEST(Weight, CanBeRefilledWhateverModeItWasMadeIn) {
  const Tensor values = at::randn({4, 3}), other = at::randn({4, 3});
  const Part part = {"w", {4, 3}};
  Weight made_in_inference = [&] {
    const c10::InferenceMode inference;
    return Weight({part}, Role::Matmul, {}, copied(), {values});
  }();
  made_in_inference.refill({other});
  EXPECT_TRUE(made_in_inference.tensor().equal(other));
  Weight made_outside({part}, Role::Matmul, {}, copied(), {values});
  const c10::InferenceMode inference;
  made_outside.refill({other});
  EXPECT_TRUE(made_outside.tensor().equal(other));
}

TEST(Weight, ARefillThatDoesNotFitWritesNothing) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"a.q.weight", at::zeros({2, 3})},
                                               {"a.k.weight", at::zeros({2, 3})},
                                               {"b.q.weight", at::ones({2, 3})},
                                               {"b.k.weight", at::ones({3, 2})},
                                               {"c.q.weight", at::ones({2, 3})},
                                               {"d.q.weight", at::ones({2, 3})},
                                               {"d.k.weight", at::ones({2, 3}, at::kLong)}});
  const Checkpoint file = Checkpoint::open(folder / "x.safetensors");
  Weights weights(file, copied());
  (weights.root() / "a").take({{"q.weight", {2, 3}}, {"k.weight", {2, 3}}}, Role::Matmul);
  (weights.root() / "b" / "q").take("weight", {2, 3}, Role::Matmul);
  std::vector<Weight> slot = weights.taken("a.");
  ASSERT_EQ(slot.size(), 1u);
  const auto complaint = [&](std::string_view other) {
    try {
      refill(slot, file, "a.", other);
    } catch (const ModelError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_TRUE(complaint("b.").ends_with("x.safetensors: b.k.weight] must be [2, 3], is [3, 2]")) << complaint("b.");
  EXPECT_TRUE(complaint("c.").ends_with("x.safetensors: c.k.weight] must be [2, 3], is not there")) << complaint("c.");
  EXPECT_TRUE(complaint("d.").ends_with("d.k.weight] must hold floats, holds I64")) << complaint("d.");
  EXPECT_TRUE(slot[0].tensor().equal(at::zeros({4, 3})));
  EXPECT_THROW(slot[0].refill(file, {"c.q.weight"}), std::logic_error);
  EXPECT_THROW(refill(slot, file, "b.", "a."), std::logic_error);
}

TEST(Weight, MappedTensorsAreNotJoined) {
  const Tensor values = at::zeros({2, 3});
  EXPECT_THROW(Weight({{"q", {2, 3}}, {"k", {2, 3}}}, Role::Matmul, {}, {}, {values, values}), std::logic_error);
}

template <typename Make>
uint64_t bytes_on(const Checkpoint& file, const Place& place, const Make& make) {
  Weights weights(file, place);
  const auto network = make(weights);
  EXPECT_NO_THROW(weights.finish());
  for (const Weight& weight : weights.taken())
    EXPECT_EQ(weight.device().is_meta(), place.on_meta) << weight.parts()[0].name;
  return bytes_of(weights.taken());
}

TEST(Weight, PlannedBytesAreThoseOfTheCopies) {
  const Checkpoint expert = Checkpoint::open(kNano), vae = Checkpoint::open(kFolder / "Wan2.1_VAE.pth"),
                   text = Checkpoint::open(kFolder / "models_t5_umt5-xxl-enc-bf16.pth");
  const auto transformer = [](Weights& weights) {
    return WanModel(weights.root(), WanConfig::read(kNano / "config.json"), at::kBFloat16);
  };
  const auto autoencoder = [](at::ScalarType dtype) {
    return [dtype](Weights& weights) { return vae::Vae(weights, {.dtype = dtype}); };
  };
  const auto encoder = [](Weights& weights) { return Umt5Encoder(weights.root(), at::kBFloat16); };
  const auto check = [](const Checkpoint& file, const Place& place, const auto& make) {
    const uint64_t planned = bytes_on(file, place.planned(), make);
    EXPECT_EQ(planned, bytes_on(file, place, make));
    return planned;
  };
  const uint64_t exact = check(expert, copied(at::kBFloat16), transformer);
  EXPECT_LT(check(expert, copied(at::kBFloat16, Precision::Balanced), transformer), exact);
  EXPECT_EQ(check(expert, {}, transformer), 0u);
  EXPECT_EQ(check(vae, copied(), autoencoder(at::kFloat)), 2 * check(vae, copied(), autoencoder(at::kHalf)));
  EXPECT_LT(check(vae, {}, autoencoder(at::kFloat)), vae.bytes() / 10);  // what it sums of its taps, no mapping
  uint64_t bytes = 0;                                                    // all but the table, which stays in the file
  for (const auto& [name, tensor] : text.tensors()) {
    const bool wide = name.find("norm") != std::string::npos || name.find("pos_embedding") != std::string::npos;
    if (name != "token_embedding.weight") bytes += uint64_t(tensor.elements()) * (wide ? 4 : 2);
  }
  EXPECT_EQ(bytes_on(text, copied(at::kBFloat16).planned(), encoder), bytes);
  EXPECT_EQ(bytes_on(text, copied(at::kBFloat16), encoder), bytes);
}

TEST(Weight, CopiesOfATransformerComputeWhatTheFileDoes) {
  at::manual_seed(22);
  const c10::InferenceMode inference;
  const Checkpoint file = Checkpoint::open(kNano);
  const Tensor latent = at::randn({16, 1, 8, 8}), states = at::randn({5, 64});
  const auto velocity = [&](const Place& place) {
    Weights weights(file, place);
    const WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), at::kFloat);
    Context context = model.context(states);
    return model(latent, model.rope(latent), 700, {&context})[0];
  };
  // Merged products and other alignments: another order of sums.
  EXPECT_LT(relative_rms(velocity(copied()), velocity({})), 1e-5);
}

TEST(Weight, CopiesOfTheVaeComputeWhatTheFileDoes) {
  at::manual_seed(23);
  const c10::InferenceMode inference;
  const Checkpoint file = Checkpoint::open(kFolder / "Wan2.1_VAE.pth");
  Weights mapped(file), copies(file, copied());
  const vae::Vae of_file(mapped), of_copies(copies);
  const Tensor latent = at::randn({16, 2, 2, 3}), video = at::rand({3, 5, 16, 24}) * 2 - 1;
  // Channels last: another order of sums.
  EXPECT_LT(relative_rms(decode(of_copies.decoder, latent), decode(of_file.decoder, latent)), 1e-4);
  EXPECT_LT(relative_rms(encode(of_copies.encoder, video), encode(of_file.encoder, video)), 1e-4);
}

// Also where nothing is copied, so that no file asks.
TEST(Weight, WhoBuildsANetworkIsAskedBeforeEachAndMayStop) {
  struct Stop : std::exception {};
  const Checkpoint file = Checkpoint::open(kNano);
  for (const Place& place : {Place{}, Place{.kept = Kept::Int8}, Place{.precision = Precision::Balanced}}) {
    Weights weights(file, place);
    int asked = 0;
    weights.ask([&] {
      if (++asked == 5) throw Stop();
    });
    EXPECT_THROW(WanModel(weights.root(), WanConfig::read(kNano / "config.json"), place.compute), Stop);
    EXPECT_EQ(weights.taken().size(), 4u);
  }
}

}  // namespace
}  // namespace wan
