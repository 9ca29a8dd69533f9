#include "models/weights/load_tensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include "models/files/error.h"
#include "models/weights/dtype.h"
#include "models/weights/encode.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/weight_files.h"
#include "tests/coded_checkpoint.h"
#include "tests/small_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const at::ScalarType kDtypes[] = {at::kFloat,         at::kBFloat16,    at::kHalf, at::kDouble,
                                  at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kByte, at::kLong};

/// Buffers of 16 KiB, so that a small tensor goes over many.
LoadOptions small_ring() {
  LoadOptions options;
  options.ring.readers = 3;
  options.ring.buffers = 4;
  options.ring.buffer_bytes = 16 << 10;
  return options;
}

bool same_bits(const at::Tensor& got, const at::Tensor& want) {
  return got.sizes() == want.sizes() && got.scalar_type() == want.scalar_type() &&
         at::equal(got.contiguous().view({-1}).view(at::kByte), want.contiguous().view({-1}).view(at::kByte));
}

/// Values of every magnitude, halfway between bfloat16 ones, subnormal, infinite.
at::Tensor values(int64_t count, uint64_t seed) {
  at::manual_seed(seed);
  at::Tensor made = at::randn({count}) * at::randn({count}).mul(3).exp();
  if (count > 6) {
    made[0] = 1 + 1.0 / 256, made[1] = 1 + 3.0 / 256, made[2] = 1e-41, made[3] = -0.0;
    made[4] = std::numeric_limits<float>::infinity();
  }
  return made;
}

/// Every tensor of a checkpoint into memory of this dtype.
std::map<std::string, at::Tensor> load_all(const Checkpoint& from, at::ScalarType to, const LoadOptions& options) {
  std::map<std::string, at::Tensor> loaded;
  std::vector<TensorLoad> loads;
  for (const auto& [name, stored] : from.tensors()) {
    loaded[name] = at::empty(stored.shape, at::TensorOptions(to));
    loads.push_back({name, stored, loaded[name]});
  }
  load_tensors(loads, options);
  return loaded;
}

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(LoadTensors, EveryPairOfDtypesIsThatOfTheMappedFile) {
  const TemporaryFolder folder;
  std::map<std::string, at::Tensor> tensors;
  for (const at::ScalarType dtype : kDtypes)
    for (const int64_t count : {0, 1, 3, 4097, 30'001})
      tensors[std::string(c10::toString(dtype)) + std::to_string(count)] =
          c10::isIntegralType(dtype, false) ? at::arange(count).remainder(201).to(dtype) : values(count, 3).to(dtype);
  write_safetensors(folder / "all.safetensors", tensors);
  const Checkpoint file = Checkpoint::open(folder / "all.safetensors");
  for (const at::ScalarType to : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble, at::kFloat8_e4m3fn}) {
    for (const auto& [name, got] : load_all(file, to, small_ring()))
      EXPECT_TRUE(same_bits(got, file.map(name).to(to))) << name << " as " << c10::toString(to);
  }
}

// Folders of shards, archives of torch, safetensors: every network of a model.
TEST(LoadTensors, EveryFileOfAModelIsThatOfTheMappedOne) {
  const fs::path model = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";
  for (const char* part : {"high_noise_model", "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1_VAE.pth"}) {
    const Checkpoint file = Checkpoint::open(model / part);
    for (const at::ScalarType to : {at::kFloat, at::kBFloat16})
      for (const auto& [name, got] : load_all(file, to, small_ring()))
        EXPECT_TRUE(same_bits(got, file.map(name).to(to))) << name;
  }
}

// Files of other writers: data at any byte, so that elements lie across the buffers' ends and nothing is aligned.
TEST(LoadTensors, WhatIsNotAlignedIsThatOfTheMappedFile) {
  const TemporaryFolder folder;
  const at::Tensor all = values(20'000, 4);
  {
    std::ofstream out(folder / "odd.safetensors", std::ios::binary);
    const std::string header = R"({"a":{"dtype":"F32","shape":[3,2001],"data_offsets":[0,24012]},)"
                               R"("b":{"dtype":"F32","shape":[7000],"data_offsets":[24012,52012]}})";
    const std::string padded = header + std::string(header.size() % 2 ? 2 : 1, ' ');  // an odd length
    const uint64_t length = padded.size();
    out.write(reinterpret_cast<const char*>(&length), 8) << padded;
    out.write(static_cast<const char*>(all.const_data_ptr()), 52012);
  }
  const Checkpoint file = Checkpoint::open(folder / "odd.safetensors");
  ASSERT_NE(file.tensors().at("a").offset % 4, 0u);
  for (const at::ScalarType to : {at::kFloat, at::kBFloat16})
    for (const auto& [name, got] : load_all(file, to, small_ring()))
      EXPECT_TRUE(same_bits(got, file.map(name).to(to))) << name;
}

TEST(LoadTensors, ShardsAndTheirOrderDoNotMatter) {
  const TemporaryFolder folder;
  std::map<std::string, at::Tensor> shards[2];
  for (int i = 0; i < 40; ++i) shards[i % 2]["t" + std::to_string(i)] = values(100 + 333 * i, uint64_t(i));
  write_safetensors(folder / "diffusion_pytorch_model-00001-of-00002.safetensors", shards[0]);
  write_safetensors(folder / "diffusion_pytorch_model-00002-of-00002.safetensors", shards[1]);
  const Checkpoint files = Checkpoint::open(folder.path());
  ASSERT_EQ(files.files().size(), 2u);
  std::vector<TensorLoad> loads;
  std::map<std::string, at::Tensor> loaded;
  for (const auto& [name, stored] : files.tensors()) {
    loaded[name] = at::empty(stored.shape, at::kBFloat16);
    loads.insert(loads.begin() + loads.size() / 2, {name, stored, loaded[name]});
  }
  const LoadCounts counts = load_tensors(loads, small_ring());
  EXPECT_EQ(counts.bytes, files.bytes());
  EXPECT_GE(counts.direct + counts.buffered, counts.bytes);
  for (const auto& [name, got] : loaded) EXPECT_TRUE(same_bits(got, files.map(name).to(at::kBFloat16))) << name;
}

TEST(LoadTensors, PartsOfAJoinedMatrixGoToTheirRows) {
  const TemporaryFolder folder;
  std::map<std::string, at::Tensor> tensors;
  for (const char* name : {"q", "k", "v"}) tensors[name] = values(64 * 96, uint64_t(name[0])).view({64, 96});
  const Checkpoint file = small_checkpoint(folder / "qkv.safetensors", tensors);
  const at::Tensor joined = at::empty({192, 96}, at::kBFloat16);
  std::vector<TensorLoad> loads;
  int64_t row = 0;
  for (const char* name : {"q", "k", "v"}) {
    loads.push_back({name, file.tensors().at(name), joined.narrow(0, row, 64)});
    row += 64;
  }
  load_tensors(loads, small_ring());
  EXPECT_TRUE(same_bits(joined, at::cat({file.map("q"), file.map("k"), file.map("v")}).to(at::kBFloat16)));
}

// Of blocks of codes the bytes, whatever their coding.
TEST(LoadTensors, CodesComeAsTheyLie) {
  const TemporaryFolder folder;
  const Checkpoint plain =
      small_checkpoint(folder / "plain.safetensors", {{"a.weight", values(96 * 512, 1).clamp(-5, 5).view({96, 512})},
                                                      {"b.weight", values(33 * 256, 2).clamp(-5, 5).view({33, 256})},
                                                      {"c.bias", values(5, 3)}});
  for (const kernels::Code code : {kernels::Code::Q8_0, kernels::Code::Q4_K}) {
    const Checkpoint coded = coded_checkpoint(
        plain, folder / "coded.gguf", [](const std::string& name) { return name.ends_with("weight"); },
        [&](const std::string&, const at::Tensor& matrix) {
          return code == kernels::Code::Q8_0 ? as_q8_0(matrix) : as_q4_k(matrix);
        });
    for (const char* name : {"a.weight", "b.weight"}) {
      const at::Tensor wanted = coded.coded(name)->codes;
      const at::Tensor got = at::empty(wanted.sizes(), at::kByte);
      load_tensors({{name, coded.tensors().at(name), got}}, small_ring());
      EXPECT_TRUE(at::equal(got, wanted)) << name;
    }
  }
}

TEST(LoadTensors, TorchFilesWithOtherStrides) {
  const TemporaryFolder folder;
  const Checkpoint file = small_checkpoint(folder / "a.safetensors", {{"a", values(60'000, 5)}});
  // As an archive describes a transposed matrix, a convolution in channels-last, and one value seen many times.
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> views = {
      {{200, 300}, {1, 200}}, {{10, 20, 15, 20}, {6000, 1, 400, 20}}, {{5, 7}, {0, 1}}, {{4, 1, 6}, {6, 99, 1}}};
  for (const auto& [shape, strides] : views) {
    StoredTensor view = file.tensors().at("a");
    view.shape = shape;
    view.strides = strides;
    const at::Tensor got = at::empty(shape, at::kBFloat16);
    load_tensors({{"view", view, got}}, small_ring());
    EXPECT_TRUE(same_bits(got, file.renamed({{"view", view}}).map("view").to(at::kBFloat16))) << at::IntArrayRef(shape);
  }
}

// Beside the destination there is the ring alone: no second copy of the file, and none in the page cache where it was not.
TEST(LoadTensors, HoldsNoMoreThanTheRing) {
  const TemporaryFolder folder;
  constexpr int64_t kCount = 24 << 20;
  small_checkpoint(folder / "large.safetensors", {{"a", at::arange(kCount).to(at::kFloat)}});
  const Checkpoint file = Checkpoint::open(folder / "large.safetensors");
  const at::Tensor to = at::zeros({kCount}, at::kBFloat16).fill_(1);
  const auto peak_kilobytes = [] {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
      if (long value; word == "VmHWM:" && status >> value) return value;
    return 0L;
  };
  LoadOptions options;
  options.ring.buffers = 4;
  options.ring.buffer_bytes = 1 << 20;
  load_tensors({{"a", file.tensors().at("a"), to}}, options);  // threads have their stacks
  std::ofstream reset("/proc/self/clear_refs");
  if (!(reset << 5 << std::flush)) GTEST_SKIP() << "the system does not reset peaks";
  const long before = peak_kilobytes();
  load_tensors({{"a", file.tensors().at("a"), to}}, options);
  EXPECT_LT(peak_kilobytes() - before, 12'000);  // of 100,663
  EXPECT_EQ(to[1000].item<float>(), 1000);
}

// 8-bit rows are made piece by piece, of whole rows.
TEST(LoadTensors, WholeRowsForWhatIsMadeOfThem) {
  const TemporaryFolder folder;
  const at::Tensor matrix = at::randn({77, 256});
  const Checkpoint file = small_checkpoint(folder / "a.safetensors", {{"a", matrix}});
  kernels::CodedMatrix got = row_codes(kernels::Code::Int8, 77, 256, at::kCPU),
                       want = row_codes(kernels::Code::Int8, 77, 256, at::kCPU);
  quantise_into(want, 0, matrix);
  TensorLoad load{"a", file.tensors().at("a")};
  load.group = 256;
  int pieces = 0;
  load.take = [&](int64_t first, const at::Tensor& piece) {
    ++pieces;
    ASSERT_EQ(piece.numel() % 256, 0);
    quantise_into(got, first / 256, piece.view({-1, 256}));
  };
  load_tensors({load}, small_ring());
  EXPECT_GT(pieces, 4);
  EXPECT_TRUE(at::equal(got.codes, want.codes));
  EXPECT_TRUE(at::equal(got.scale, want.scale));
}

// A device that copies behind the host's back: memory of the ring is not read into before the copies have ended.
TEST(LoadTensors, LeasesAreHeldUntilTheDeviceHasCopied) {
  const TemporaryFolder folder;
  const at::Tensor wanted = values(100'000, 6);
  const Checkpoint file = small_checkpoint(folder / "a.safetensors", {{"a", wanted}});
  struct Clock {
    int queued = 0, ended = 0, waits = 0, most_open = 0;
  } clock;
  const auto copier = device_copier(at::kCPU, /*most_leases=*/2, [&]() -> Mark {
    const int number = ++clock.queued;
    clock.most_open = std::max(clock.most_open, clock.queued - clock.ended);
    return [&clock, number](bool wait) {
      if (wait) {
        clock.ended = std::max(clock.ended, number);
        ++clock.waits;
      }
      return clock.ended >= number;
    };
  });
  LoadOptions options = small_ring();
  options.copier = copier.get();
  const at::Tensor as_it_is = at::empty({100'000}), rounded = at::empty({100'000}, at::kBFloat16);
  load_tensors({{"a", file.tensors().at("a"), as_it_is}, {"a", file.tensors().at("a"), rounded}}, options);
  EXPECT_TRUE(same_bits(as_it_is, wanted));
  EXPECT_TRUE(same_bits(rounded, wanted.to(at::kBFloat16)));
  EXPECT_EQ(clock.ended, clock.queued);  // nothing is on its way when it returns
  EXPECT_GT(clock.waits, 10);
  EXPECT_EQ(clock.most_open, 3);  // two that are held, and the one that makes it wait
}

TEST(LoadTensors, FilesThatVanishOrShrinkBetweenPlanAndLoad) {
  const TemporaryFolder folder;
  const Checkpoint file = small_checkpoint(folder / "model.safetensors", {{"a", values(50'000, 7)}});
  const at::Tensor to = at::empty({50'000});
  const LoadOptions options = small_ring();
  const auto refusal = [&] { return error_of([&] { load_tensors({{"a", file.tensors().at("a"), to}}, options); }); };
  EXPECT_EQ(refusal(), "");
  fs::resize_file(folder / "model.safetensors", 70'000);
  EXPECT_NE(refusal().find(" bytes, has 70000; start again once it is whole"), std::string::npos) << refusal();
  EXPECT_NE(error_of([&] { states_of(file); }).find("has 70000"), std::string::npos);
  fs::remove(folder / "model.safetensors");
  EXPECT_NE(refusal().find("must be there until it is loaded, is absent now; put it back"), std::string::npos)
      << refusal();
}

TEST(LoadTensors, DestinationsThatDoNotFitAreRefused) {
  const TemporaryFolder folder;
  const Checkpoint file = small_checkpoint(folder / "a.safetensors", {{"a", at::ones({6, 4})}});
  const StoredTensor& stored = file.tensors().at("a");
  const auto refusal = [&](const TensorLoad& load) { return error_of([&] { load_tensors({load}); }); };
  EXPECT_NE(refusal({"a", stored, at::empty({5, 4})}).find("[a] must be loaded into 24 elements, got 20"),
            std::string::npos);
  EXPECT_NE(refusal({"a", stored, at::empty({4, 6}).t()}).find("a contiguous tensor"), std::string::npos);
  EXPECT_NE(refusal({"a", stored}).find("a contiguous tensor"), std::string::npos);
  StoredTensor nowhere = stored;
  nowhere.file = nullptr;
  EXPECT_NE(refusal({"a", nowhere, at::empty({6, 4})}).find("without a file"), std::string::npos);
  TensorLoad groups{"a", stored};
  groups.take = [](int64_t, const at::Tensor&) {};
  groups.group = 5;
  EXPECT_NE(refusal(groups).find("groups of 5"), std::string::npos);
}

TEST(LoadTensors, WhatStopsItPassesThrough) {
  const TemporaryFolder folder;
  const Checkpoint file = small_checkpoint(folder / "a.safetensors", {{"a", values(100'000, 9)}});
  LoadOptions options = small_ring();
  int asked = 0;
  options.ring.check = [&] {
    if (++asked > 3) throw std::runtime_error("stopped by the user");
  };
  EXPECT_EQ(error_of([&] {
              load_tensors({{"a", file.tensors().at("a"), at::empty({100'000})}}, options);
            }),
            "stopped by the user");
}

TEST(LoadTensors, ACopierThatFailsLaterDoesNotHideWhatFailedFirst) {
  struct Failing : PieceCopier {
    void copy(const at::Tensor&, const at::Tensor&, const std::shared_ptr<const void>&) override {
      throw std::runtime_error("first");
    }
    at::Tensor moved(const at::Tensor& piece, const std::shared_ptr<const void>&) override { return piece; }
    void finish() override { throw std::runtime_error("second"); }
  } failing;
  const TemporaryFolder folder;
  write_safetensors(folder / "a.safetensors", {{"a", values(100, 1)}});
  LoadOptions options = small_ring();
  options.copier = &failing;
  EXPECT_EQ(error_of([&] { load_all(Checkpoint::open(folder / "a.safetensors"), at::kFloat, options); }), "first");
}

// Without the catch the program ends here.
TEST(LoadTensors, ACopierWhoseDeviceFailsCanBeDestroyed) {
  const auto failing = [] { return Mark([](bool wait) { return wait ? throw std::runtime_error("device") : false; }); };
  const auto copier = device_copier(at::kCPU, 2, failing);
  const at::Tensor piece = at::ones({4}), to = at::empty({4});
  copier->copy(piece, to, std::make_shared<int>(1));
}

namespace {

/// Tells to stop at its first piece.
struct StoppingCopier : PieceCopier {
  explicit StoppingCopier(std::atomic<bool>& stop) : stop(stop) {}
  void copy(const at::Tensor&, const at::Tensor&, const std::shared_ptr<const void>&) override {
    ++pieces;
    stop = true;
  }
  at::Tensor moved(const at::Tensor& piece, const std::shared_ptr<const void>&) override { return piece; }
  void finish() override {}
  std::atomic<bool>& stop;
  int pieces = 0;
};

}  // namespace

TEST(WeightFiles, ReadingEndsWhereItIsToldToStop) {
  const TemporaryFolder folder;
  std::map<std::string, at::Tensor> tensors;
  for (const char* name : {"a", "b", "c"}) tensors[name] = at::zeros({5 << 20});  // 20 MiB, two buffers of the ring
  write_safetensors(folder / "large.safetensors", tensors);
  const Checkpoint file = Checkpoint::open(folder / "large.safetensors");
  WeightFiles files(file);
  std::vector<TensorLoad> loads;
  for (const auto& [name, stored] : file.tensors()) loads.push_back({name, stored, at::empty_like(tensors.at(name))});
  std::atomic<bool> stop = false;
  StoppingCopier copier(stop);
  EXPECT_EQ(error_of([&] { files.load(loads, copier, Caching::Pass, {}, stop); }), "[copy] was stopped");
  EXPECT_EQ(copier.pieces, 1);
  EXPECT_EQ(error_of([&] { files.load(loads, copier, Caching::Pass, {}, stop); }), "[copy] was stopped");
  EXPECT_EQ(copier.pieces, 1) << "nothing is read";
}

TEST(WeightFiles, WhoReadsATensorIsAsked) {
  const Checkpoint file = Checkpoint::open(WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/high_noise_model");
  WeightFiles files(file);
  int asked = 0;
  files.ask([&] {
    if (++asked == 3) throw std::runtime_error("stop");
  });
  const auto read = [&](const std::string& name) { files.read(file, name, stored_part(file, name)); };
  read("head.head.bias");
  read("head.head.bias");
  EXPECT_EQ(error_of([&] { read("head.head.bias"); }), "stop");
  EXPECT_EQ(asked, 3);
}

}  // namespace wan
