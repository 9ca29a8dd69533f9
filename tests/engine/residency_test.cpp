#include "engine/residency/networks.h"

#include <fstream>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/residency/fit.h"
#include "engine/residency/needs.h"
#include "engine/residency/request_workload.h"
#include "engine/residency/tile_needs.h"
#include "models/files/error.h"
#include "models/weights/format/safetensors.h"
#include "tests/parts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::filesystem::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";
const Placement kCuda = {at::Device(at::kCUDA, 0), at::kBFloat16, at::Device(at::kCUDA, 0)};  // sizes need no device

/// The "network" of each load that is logged.
Log loads_into(std::vector<std::string>& networks) {
  return Log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "load") networks.push_back(fields.at("network"));
  }};
}

/// Of text to video of this size.
Workload workload(const ModelParts& parts, const Extent& extent, const Placement& placement) {
  Request request;
  request.resolution = "720p";
  request.aspect_ratio = "16:9";
  request.solver = "unipc";
  request.num_frames = extent.frames;
  request.width = extent.width;
  request.height = extent.height;
  return workload_of(request, parts, placement);
}

void use_all(Networks& models) {
  models.text_encoder();
  models.expert(true);
  models.expert(true);
  models.expert(false);
  models.expert(true);
  models.vae();
}

TEST(Residency, WhereAllFitsEachNetworkIsLoadedOnce) {
  std::vector<std::string> loads;
  Networks models(parts_of(kNano, Task::T2V), Placement{}, Networks::Keep::All, loads_into(loads));
  use_all(models);
  EXPECT_EQ(loads, (std::vector<std::string>{"text encoder", "high-noise expert", "low-noise expert", "VAE"}));
  EXPECT_EQ(models.expert_loads(), 2);
}

TEST(Residency, ElseANetworkMakesRoomForTheNext) {
  std::vector<std::string> loads;
  Networks models(parts_of(kNano, Task::T2V), Placement{}, Networks::Keep::One, loads_into(loads));
  use_all(models);
  EXPECT_EQ(loads, (std::vector<std::string>{"text encoder", "high-noise expert", "low-noise expert",
                                             "high-noise expert", "VAE"}));
  EXPECT_EQ(models.expert_loads(), 3);
  models.text_encoder();
  models.drop(Network::TextEncoder);
  models.text_encoder();
  EXPECT_EQ(loads.size(), 7u);
}

TEST(Residency, AllFitOnlyBesideTheActivations) {
  const ModelParts folder = parts_of(kNano, Task::T2V);
  uint64_t weights = 0;
  for (const auto& [network, part] : folder.networks) weights += placed_bytes(network, folder, kCuda);
  EXPECT_TRUE(all_fit(folder, kCuda, 1000, weights + 1000));
  EXPECT_FALSE(all_fit(folder, kCuda, 1001, weights + 1000));
  EXPECT_TRUE(all_fit(folder, Placement{}, 1000, 0));  // mappings
}

TEST(Residency, PlacedBytesFollowRoleAndTarget) {
  const ModelParts folder = parts_of(kNano, Task::T2V);
  EXPECT_EQ(placed_bytes(Network::HighNoise, folder, Placement{}), 0u);
  // Float32 files, which the VAE stays, but that 3 x 3 taps behind a doubling of pixels become 4 times 2 x 2.
  const Checkpoint vae = Checkpoint::open(folder.path_of(Network::Vae));
  uint64_t folded = 0;
  for (const auto& [name, tensor] : vae.tensors())
    if (name.find("decoder.upsamples.") == 0 && name.find("resample.1.weight") != std::string::npos)
      folded += tensor.bytes() / 9 * 7;
  EXPECT_GT(folded, 0u);
  EXPECT_EQ(placed_bytes(Network::Vae, folder, kCuda), vae.bytes() + folded);
  Placement half = kCuda;
  half.vae = at::kHalf;
  EXPECT_EQ(placed_bytes(Network::Vae, folder, half), (vae.bytes() + folded) / 2);
  const Checkpoint expert = Checkpoint::open(folder.path_of(Network::HighNoise));
  // What the reference autocasts lies in bf16: linears of the blocks, text MLP, patch embedding.
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : expert.tensors()) {
    const bool in_block = name.starts_with("blocks.") && name.find("norm") == std::string::npos &&
                          name.find("modulation") == std::string::npos;
    const bool half = in_block || name.starts_with("text_embedding.") || name.starts_with("patch_embedding.");
    bytes += uint64_t(tensor.elements()) * (half ? 2 : 4);
  }
  EXPECT_EQ(placed_bytes(Network::HighNoise, folder, kCuda), bytes);
}

TEST(Residency, ALowerPrecisionHoldsBlocksInOneByteAWeight) {
  Placement balanced = kCuda;
  balanced.precision = Precision::Balanced;
  const ModelParts folder = parts_of(kNano, Task::T2V);
  uint64_t less = 0;
  const Checkpoint expert = Checkpoint::open(folder.path_of(Network::HighNoise));
  for (const auto& [name, tensor] : expert.tensors()) {
    if (!name.starts_with("blocks.") || tensor.shape.size() != 2) continue;
    if (name == "blocks.0.cross_attn.q.weight" || name == "blocks.5.cross_attn.q.weight") continue;  // stay in bf16
    less += uint64_t(tensor.elements()) - 4 * uint64_t(tensor.shape[0]);                             // a scale a row
  }
  EXPECT_GT(less, 0u);
  EXPECT_EQ(placed_bytes(Network::HighNoise, folder, balanced), placed_bytes(Network::HighNoise, folder, kCuda) - less);
  EXPECT_EQ(placed_bytes(Network::TextEncoder, folder, balanced), placed_bytes(Network::TextEncoder, folder, kCuda));
  EXPECT_EQ(placed_bytes(Network::Vae, folder, balanced), placed_bytes(Network::Vae, folder, kCuda));
}

TEST(Residency, ALowerPrecisionSaysOnceThatItIsNotMeasured) {
  for (Precision precision : {Precision::Exact, Precision::Fast}) {
    int warnings = 0;
    Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event != "warning") return;
      ++warnings;
      EXPECT_EQ(fields.at("text"), kUnmeasuredText);
    }};
    Placement placement;
    placement.precision = precision;
    Networks models(parts_of(kNano, Task::T2V), placement, Networks::Keep::One, log);
    use_all(models);
    EXPECT_EQ(warnings, precision == Precision::Exact ? 0 : 1);
  }
}

TEST(Memory, OfTheRealModel) {
  TemporaryFolder files;
  write_sparse_t2v_folder(files / "model");
  std::filesystem::create_directories(files / "model/google/umt5-xxl");
  std::ofstream(files / "model/google/umt5-xxl/tokenizer.json") << "{}";
  const ModelParts folder = parts_of(files / "model", Task::T2V);
  const Extent extent{81, 720, 1280};
  EXPECT_EQ(extent.tokens(), 75600);
  EXPECT_NEAR(double(placed_bytes(Network::HighNoise, folder, kCuda)), 28.95e9, 0.01e9);  // islands in float32
  Placement balanced = kCuda;
  balanced.precision = Precision::Balanced;
  // A byte less for each weight of 40 blocks but the outer two's text queries, and four more for each of their rows.
  const uint64_t weights = 40 * (8 * 5120 * 5120 + 2 * 5120 * 13824LL) - 2 * 5120 * 5120;
  const uint64_t rows = 40 * (9 * 5120 + 13824) - 2 * 5120;
  EXPECT_EQ(placed_bytes(Network::HighNoise, folder, balanced),
            placed_bytes(Network::HighNoise, folder, kCuda) - weights + 4 * rows);
  EXPECT_GT(denoise_bytes(kWanT2vA14b, extent, balanced), denoise_bytes(kWanT2vA14b, extent, kCuda));
  const Activations activations = activations_of(workload(folder, extent, kCuda));
  EXPECT_EQ(activations.denoise, denoise_bytes(kWanT2vA14b, extent, kCuda));
  EXPECT_EQ(activations.most(), vae_bytes(96, extent, at::kFloat));  // the VAE's caches are the largest
}

TEST(Memory, FollowsTheFormOfTheWeights) {
  TemporaryFolder files;
  write_sparse_t2v_folder(files / "model");
  std::filesystem::create_directories(files / "model/google/umt5-xxl");
  std::ofstream(files / "model/google/umt5-xxl/tokenizer.json") << "{}";
  const ModelParts folder = parts_of(files / "model", Task::T2V);
  Placement wide = kCuda, fp8 = kCuda;
  wide.dtype = at::kFloat;
  fp8.weights = Kept::Fp8;
  // As Memory.OfTheRealModel: a byte for each weight of the blocks, and a scale for each of their rows.
  const uint64_t weights = 40 * (8 * 5120 * 5120 + 2 * 5120 * 13824LL) - 2 * 5120 * 5120;
  const uint64_t rows = 40 * (9 * 5120 + 13824) - 2 * 5120;
  EXPECT_EQ(placed_bytes(Network::HighNoise, folder, fp8),
            placed_bytes(Network::HighNoise, folder, kCuda) - weights + 4 * rows);
  EXPECT_EQ(placed_bytes(Network::TextEncoder, folder, fp8), placed_bytes(Network::TextEncoder, folder, kCuda));
  const Extent extent{17, 480, 832};
  EXPECT_EQ(activations_of(workload(folder, extent, fp8)).denoise,
            denoise_bytes(kWanT2vA14b, extent, fp8) + uint64_t(kernels::kWidenedTileBytes));
  const auto noted = [&](const Placement& placement) {
    Notes notes;
    note_weights(folder, placement, notes);
    return notes.list();
  };
  EXPECT_TRUE(noted(kCuda).empty());
  EXPECT_TRUE(noted(fp8).empty());  // less than the file has
  wide.weights = Kept::Bf16;
  EXPECT_TRUE(noted(wide).empty());
}

TEST(Memory, AFormThatTakesMoreThanTheFilesIsTold) {
  TemporaryFolder files;
  std::filesystem::copy(kNano, files / "model", std::filesystem::copy_options::recursive);
  const std::filesystem::path expert = files / "model/low_noise_model";
  std::map<std::string, at::Tensor> tensors;
  const Checkpoint floats = Checkpoint::open(kNano / "low_noise_model");
  for (const auto& entry : floats.tensors())
    tensors[entry.first] = floats.map(entry.first).to(at::kFloat8_e4m3fn).contiguous();
  for (const auto& file : Checkpoint::paths(expert)) std::filesystem::remove(file);
  write_safetensors(expert / "diffusion_pytorch_model.safetensors", tensors);
  const ModelParts folder = parts_of(files / "model", Task::T2V);
  const auto noted = [&](Kept kept, Placement placement = kCuda) {
    placement.weights = kept;
    Notes notes;
    note_weights(folder, placement, notes);
    return notes.list();
  };
  EXPECT_TRUE(noted(Kept::Stored).empty());
  EXPECT_TRUE(noted(Kept::Fp8).empty());
  EXPECT_TRUE(noted(Kept::Bf16, Placement{}).empty());  // made at use
  ASSERT_EQ(noted(Kept::Bf16).size(), 1u);
  Placement bf16 = kCuda;
  bf16.weights = Kept::Bf16;
  EXPECT_EQ(noted(Kept::Bf16)[0].subject, "weights");
  EXPECT_EQ(noted(Kept::Bf16)[0].text,
            "a transformer takes " + gigabytes(placed_bytes(Network::LowNoise, folder, bf16)) + " in this form, and " +
                gigabytes(placed_bytes(Network::LowNoise, folder, kCuda)) + " as its file has it");
  EXPECT_LT(placed_bytes(Network::LowNoise, folder, kCuda), placed_bytes(Network::LowNoise, folder, bf16));
}

TEST(Memory, AWideDecodeThatHasNoRoomNamesBothNeeds) {
  const ModelParts folder = parts_of(kNano, Task::T2V);
  Placement half = kCuda;
  half.vae = at::kHalf;
  const Extent extent{1, 720, 1280};
  EXPECT_EQ(decode_fit(folder, extent, Placement{}).activations.vae, vae_bytes(vae_width(folder), extent, at::kFloat));
  try {
    refuse_wide_decode(folder, extent, half, {});
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(
        error.what(),
        "[decode] the clip exceeds the range of half precision, and float32 must hold 1.27 GB at 1280x720 where "
        "half takes 0.64 GB, got cuda:0 out of memory; `wan-infer decode LATENTS --device cpu` finishes kept "
        "latents, and a smaller size needs less");
  }
  const uint64_t in_tiles = tile_needs(vae_width(folder), extent, at::kFloat).device;
  Placement wide = half;
  wide.vae = at::kFloat;
  try {
    refuse_wide_decode(folder, extent, half, {.half = 0, .wide = vae::kTileRows});
  } catch (const std::runtime_error& error) {
    const std::string line = error.what();
    EXPECT_NE(line.find("float32 must hold " + gigabytes(in_tiles + placed_bytes(Network::Vae, folder, wide)) +
                        " in tiles at 1280x720 where half takes 0.64 GB, got "),
              std::string::npos)
        << line;
  }
}

TEST(Memory, AJobComputesInTheTilesThatItWasBegunWith) {
  const ModelParts folder = parts_of(kNano, Task::T2V);
  const Extent extent{1, 720, 1280};
  EXPECT_EQ(decode_fit(folder, extent, Placement{}).tiles, VaeTiles());
  EXPECT_EQ(decode_fit(folder, extent, Placement{}, VaeTiles{16, 128}).tiles, (VaeTiles{16, 128}));
  // A card that takes tiles by itself, and one that does not; nothing is asked of a card that is not here.
  Machine machine;
  machine.is_card = true;
  Placement half = kCuda;
  half.vae = at::kHalf;
  machine.device_total = uint64_t(24) << 30;
  EXPECT_EQ(card_tiles(folder, half, machine, extent), VaeTiles());
  machine.allowed = 1'000'000'000;
  EXPECT_EQ(card_tiles(folder, half, machine, extent), (VaeTiles{0, vae::kTileRows})) << "1.27 GB in float32";
  EXPECT_EQ(card_tiles(folder, kCuda, machine, extent), (VaeTiles{0, vae::kTileRows}));
  machine.allowed = 500'000'000;
  EXPECT_EQ(card_tiles(folder, half, machine, extent), (VaeTiles{vae::kTileRows, vae::kTileRows}));
  machine.stands_in = true;
  EXPECT_EQ(card_tiles(folder, half, machine, extent), VaeTiles()) << "on the CPU they have the bytes of whole frames";
}

TEST(Memory, GrowsWithTokensAndDecodingOnlyWithThePicture) {
  const Extent small{17, 480, 832}, longer{33, 480, 832};
  const uint64_t texts = 2 * 2 * uint64_t(40 * 512 * 5120) * 2;
  const uint64_t first = denoise_bytes(kWanT2vA14b, small, kCuda) - texts;
  EXPECT_EQ((denoise_bytes(kWanT2vA14b, longer, kCuda) - texts) * 5, first * 9);
  EXPECT_EQ(vae_bytes(96, small, at::kFloat), vae_bytes(96, longer, at::kFloat));
  EXPECT_EQ(vae_bytes(96, {17, 960, 832}, at::kFloat), 2 * vae_bytes(96, small, at::kFloat));
}

TEST(Memory, OwnWindowsOfTheVaeAreForAGpuWithRoom) {
  const Extent extent{81, 720, 1280};
  const uint64_t own = vae_bytes(96, extent, at::kHalf, vae::Windows::Own);
  EXPECT_EQ(own, uint64_t(87) * 96 * 720 * 1280 * 2);
  EXPECT_GT(own, vae_bytes(96, extent, at::kHalf));
  EXPECT_EQ(windows_for(kCuda, own, own), vae::Windows::Own);
  EXPECT_EQ(windows_for(kCuda, own, own - 1), vae::Windows::Shared);
  EXPECT_EQ(windows_for(Placement{}, own, own), vae::Windows::Shared);
}

TEST(Memory, ARefusalNamesBothNumbersAndAWayOut) {
  const ModelParts folder = parts_of(kNano, Task::T2V);
  const Fit fit = decode_fit(folder, {81, 1 << 24, 1 << 24}, Placement{});
  try {
    fit.check();
    FAIL() << "a petabyte fits";
  } catch (const InvalidRequest& refused) {
    const std::string line = refused.errors.at(0).line();
    EXPECT_TRUE(line.starts_with("[memory] must hold ")) << line;
    EXPECT_NE(line.find(" for decode at 16777216x16777216 with 81 frames, got "), std::string::npos) << line;
    EXPECT_NE(line.find(" free on cpu; the largest that fits is "), std::string::npos) << line;
  }
  EXPECT_NO_THROW(decode_fit(folder, {1, 64, 64}, Placement{}).check());
}

TEST(Residency, AModelOfAnotherTaskIsRefused) {
  const std::filesystem::path golden = WAN_SOURCE_DIR "/tests/golden/checkpoints";
  EXPECT_NO_THROW(parts_of(golden / "Wan2.2-I2V-A14B", Task::I2V));
  EXPECT_THROW(parts_of(golden / "Wan2.2-I2V-A14B", Task::V2V), ModelError);
  try {
    parts_of(kNano, Task::I2V);
    FAIL() << "text to video serves pictures";
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("must be an image-to-video transformer as the high-noise expert of i2v, is: text-to-video"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace wan
