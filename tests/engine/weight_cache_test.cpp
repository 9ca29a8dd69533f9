#include "engine/residency/weight_cache.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/base/error.h"
#include "engine/residency/built_from_copy.h"
#include "engine/residency/cache_form.h"
#include "models/files/error.h"
#include "models/files/source_file.h"
#include "models/wan/model.h"
#include "models/weights/convert/part_file.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/scope.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano/low_noise_model";

/// What the weights of a network are, bit by bit.
bool same_bits(const Tensor& a, const Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         at::equal(a.contiguous().flatten().view(at::kByte), b.contiguous().flatten().view(at::kByte));
}

class WeightCache : public testing::Test {
 protected:
  /// The nano expert with values that no other type holds exactly.
  WeightCache() { write_source(1); }

  void write_source(uint64_t seed) {
    at::manual_seed(seed);
    const Checkpoint nano = Checkpoint::open(kNano);
    std::map<std::string, Tensor> tensors;
    for (const auto& entry : nano.tensors()) {
      const Tensor values = nano.map(entry.first).to(at::kFloat);
      tensors[entry.first] = values * (1 + 0.01 * at::rand(values.sizes()));
    }
    write_safetensors(part.path, tensors);
  }

  std::optional<Checkpoint> get(const Place& place, const convert::Step& step = {}, bool merged = false) {
    notes = {};
    IdentityCache identities;
    fs::path told;
    uint64_t bytes = 0;
    const auto watched = [&](const fs::path& file, uint64_t all_bytes, int64_t finished, int64_t all) {
      told = file;
      bytes = all_bytes;
      if (step) step(finished, all);
    };
    const std::optional<CachedCopy> copy = cached(Network::LowNoise, part, Checkpoint::open(part.path), place, merged,
                                                  folder / "cache", identities, notes, watched);
    if (!copy) return std::nullopt;
    if (!told.empty()) {
      EXPECT_EQ(told, copy->checkpoint.files().at(0)->path());
      EXPECT_EQ(bytes, copy->checkpoint.bytes());
    }
    EXPECT_TRUE(is_cached(copy->checkpoint, folder / "cache"));
    EXPECT_EQ(copy->state, state_of(copy->checkpoint.files().at(0)->path()));
    return copy->checkpoint;
  }
  std::string said() const {
    std::string text;
    for (const Note& note : notes.list()) text += "[" + note.subject + "] " + note.text + "; " + note.change + "\n";
    return text;
  }
  fs::path file(convert::Target target = convert::Target::Bf16) const {
    return cached_file(folder / "cache", part, target);
  }

  struct Outcome {
    Tensor velocity;
    std::vector<Tensor> stored;  // what the weights lie as, those in memory of their own
  };
  static Outcome run(const Checkpoint& from, const Place& place) {
    const c10::InferenceMode inference;
    at::manual_seed(41);
    const Tensor latent = at::randn({16, 1, 8, 8}), states = at::randn({5, 64});
    Weights weights(from, place);
    const WanModel model(weights.root(), WanConfig::read(kNano / "config.json"), place.compute);
    weights.finish();
    Context context = model.context(states);
    Outcome outcome{model(latent, model.rope(latent), 700, {&context})[0], {}};
    for (const Weight& weight : weights.taken())
      if (weight.bytes() > 0) outcome.stored.push_back(stored_tensor(weight.storage()));
    return outcome;
  }

  TemporaryFolder folder;
  const ModelPart part{folder / "model.safetensors", "low_noise_model/model.safetensors", "test"};
  Notes notes;
};

const Place kCard = {.compute = at::kBFloat16, .mapped = false};  // as a card: copies in bfloat16

}  // namespace

// Every place that there is: what is loaded from the cache is what is loaded from the file, or nothing is kept; and nothing
// that would be different is let through.
TEST_F(WeightCache, KeepsNothingThatWouldChangeAWeight) {
  const Checkpoint source = Checkpoint::open(part.path);
  convert::convert(source, Model::TextExpert, convert::Target::Bf16, folder / "all.safetensors", "k", {});
  const Checkpoint all_rounded = Checkpoint::open(folder / "all.safetensors");
  std::string kept_places;
  for (const bool mapped : {true, false})
    for (const at::ScalarType compute : {at::kFloat, at::kBFloat16})
      for (const Kept kept : {Kept::Stored, Kept::Bf16, Kept::Fp8, Kept::Int8})
        for (const Precision precision : {Precision::Exact, Precision::Balanced, Precision::Fast}) {
          if (mapped && compute == at::kBFloat16) continue;  // the CPU computes in float32
          const Place place{.compute = compute, .precision = precision, .mapped = mapped, .kept = kept};
          const std::string label = std::string(mapped ? "mapped" : "copied") + " " + c10::toString(compute) + " " +
                                    std::to_string(int(kept)) + " " + std::to_string(int(precision));
          SCOPED_TRACE(label);
          const std::optional<Checkpoint> copy = get(place);
          if (!copy && precision == Precision::Fast) continue;  // as Balanced
          const Outcome want = run(source, place);
          if (!copy) {
            EXPECT_FALSE(same_bits(run(all_rounded, place).velocity, want.velocity)) << "could have been kept";
            continue;
          }
          kept_places += label + "\n";
          EXPECT_LT(copy->bytes(), source.bytes() * 0.7);
          const Outcome got = run(*copy, place);
          EXPECT_TRUE(same_bits(got.velocity, want.velocity));
          if (mapped) continue;  // nothing lies in memory
          ASSERT_EQ(got.stored.size(), want.stored.size());
          for (size_t i = 0; i < got.stored.size(); ++i) EXPECT_TRUE(same_bits(got.stored[i], want.stored[i])) << i;
        }
  // Kept: 0 stored, 1 bf16, 3 int8. Precision: 0 exact, 1 balanced, 2 fast.
  EXPECT_EQ(kept_places,
            "mapped Float 1 0\nmapped Float 3 0\ncopied Float 1 0\n"
            "copied BFloat16 0 0\ncopied BFloat16 0 1\ncopied BFloat16 0 2\n"
            "copied BFloat16 1 0\ncopied BFloat16 1 1\ncopied BFloat16 1 2\n"
            "copied BFloat16 2 1\ncopied BFloat16 2 2\ncopied BFloat16 3 1\ncopied BFloat16 3 2\n");
}

TEST_F(WeightCache, Int8LeavesTheQueriesOfTheFirstAndLastBlock) {
  const Place place{.kept = Kept::Int8};
  const CacheForm form = cache_form(Network::LowNoise, Checkpoint::open(part.path), place, false);
  EXPECT_EQ(form.target, convert::Target::Int8);
  EXPECT_FALSE(form.changed.contains("blocks.0.cross_attn.q.weight"));
  EXPECT_TRUE(form.changed.contains("blocks.0.cross_attn.k.weight"));
  EXPECT_TRUE(form.changed.contains("blocks.0.self_attn.q.weight"));
  Place card = place;
  card.device = at::Device(at::kCUDA, 0);
  card.mapped = false;
  EXPECT_NE(cache_form(Network::LowNoise, Checkpoint::open(part.path), card, false).refusal, "");
}

TEST_F(WeightCache, IsWrittenOnceAndToldWithItsSize) {
  int steps = 0;
  const auto step = [&](int64_t, int64_t) { ++steps; };
  ASSERT_TRUE(get(kCard, step));
  EXPECT_GT(steps, 10);
  EXPECT_NE(said().find("[low_noise] is written as bf16 to --cache-dir: "), std::string::npos) << said();
  EXPECT_NE(said().find(" there; its weights are the same; without --cache-dir nothing is written"), std::string::npos)
      << said();
  const FileState written = state_of(file());
  steps = 0;
  ASSERT_TRUE(get(kCard, step));
  EXPECT_EQ(steps, 0);
  EXPECT_EQ(said(), "");
  EXPECT_EQ(state_of(file()), written);
  EXPECT_FALSE(fs::exists(file().string() + ".part"));
}

TEST_F(WeightCache, IsMadeAnewWhereItIsStaleOrDamaged) {
  const Tensor want = run(Checkpoint::open(part.path), kCard).velocity;
  const auto expect_anew = [&](const std::string& why) {
    const std::optional<Checkpoint> copy = get(kCard);
    ASSERT_TRUE(copy);
    EXPECT_NE(said().find("has a copy in --cache-dir that " + why), std::string::npos) << said();
    EXPECT_NE(said().find("is written as bf16"), std::string::npos) << said();
    EXPECT_TRUE(same_bits(run(*copy, kCard).velocity, run(Checkpoint::open(part.path), kCard).velocity));
    get(kCard);
    EXPECT_EQ(said(), "");  // and then it stays
  };
  ASSERT_TRUE(get(kCard));
  {  // the end of its last tensor, which no sample sees
    std::fstream out(file(), std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(-64, std::ios::end);
    out << std::string(64, 'x');
  }
  expect_anew("is damaged");
  fs::resize_file(file(), fs::file_size(file()) / 2);
  expect_anew("is damaged");
  std::ofstream(file().string() + ".json") << "{\"key\": 1";
  expect_anew("was not finished");
  std::ofstream(file().string() + ".json") << "{\"key\": 1, \"content\": []}";
  expect_anew("was made from other files");
  fs::remove(file().string() + ".json");
  expect_anew("was not finished");
  // The same bytes, but written again.
  fs::last_write_time(part.path, fs::last_write_time(part.path) + std::chrono::seconds(3));
  expect_anew("was made from other files");
  write_source(2);
  expect_anew("was made from other files");
  EXPECT_FALSE(same_bits(run(Checkpoint::open(part.path), kCard).velocity, want));
}

// Samples do not see it, and the time of modification was set back: the time of change is what tells.
TEST_F(WeightCache, IsMadeAnewWhereItsSourceWasChangedInPlaceAndTheTimeSetBack) {
  ASSERT_TRUE(get(kCard));
  const Checkpoint source = Checkpoint::open(part.path);
  const auto time = fs::last_write_time(part.path);
  const StoredTensor* large = nullptr;
  for (const auto& [name, tensor] : source.tensors())
    if (name.ends_with("ffn.0.weight") && (!large || tensor.bytes() > large->bytes())) large = &tensor;
  ASSERT_TRUE(large && large->bytes() > 16384);
  IdentityCache identities;
  const std::vector<PartFile> files = {{part.path, "source", "", ""}};
  const std::string before = identify(files, identities).at(0).digest;
  {
    std::fstream out(part.path, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(std::streamoff(large->offset + large->bytes() - 4));
    const float value = 3;
    out.write(reinterpret_cast<const char*>(&value), sizeof value);
  }
  fs::last_write_time(part.path, time);
  EXPECT_EQ(identify(files, identities).at(0).digest, before);
  const std::optional<Checkpoint> copy = get(kCard);
  ASSERT_TRUE(copy);
  EXPECT_NE(said().find("new inodes or times of change (cp -a, chmod, a new name)"), std::string::npos) << said();
  EXPECT_TRUE(same_bits(run(*copy, kCard).velocity, run(Checkpoint::open(part.path), kCard).velocity));
  fs::permissions(part.path, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
  ASSERT_TRUE(get(kCard));
  EXPECT_NE(said().find("whether they were written to as well cannot be told"), std::string::npos) << said();
}

TEST_F(WeightCache, TheOldFileStaysUntilTheNewOneIsWhole) {
  ASSERT_TRUE(get(kCard));
  const FileState old = state_of(file());
  write_source(2);
  const auto stop = [](int64_t finished, int64_t) {
    if (finished == 3) throw Cancelled();
  };
  EXPECT_THROW(get(kCard, stop), Cancelled);
  ASSERT_TRUE(fs::exists(file()));
  EXPECT_EQ(state_of(file()), old);
  ASSERT_TRUE(get(kCard));
  EXPECT_NE(state_of(file()).inode, old.inode);
}

TEST_F(WeightCache, IsLookedForWithoutBeingWritten) {
  IdentityCache identities;
  const auto there = [&] {
    return copy_there(Network::LowNoise, part, Checkpoint::open(part.path), kCard, false, folder / "cache", identities);
  };
  const auto planned = [&] {
    return plan_of_cache(Network::LowNoise, part, Checkpoint::open(part.path), kCard, folder / "cache")->is_there;
  };
  EXPECT_FALSE(there());
  EXPECT_FALSE(planned());
  EXPECT_FALSE(fs::exists(folder / "cache"));
  ASSERT_TRUE(get(kCard));
  ASSERT_TRUE(there());
  EXPECT_TRUE(planned());
  write_source(2);
  EXPECT_FALSE(there());
  EXPECT_FALSE(planned());
}

TEST_F(WeightCache, OnePartHasOneCopyByWhateverPath) {
  fs::create_directories(folder / "real");
  fs::create_directory_symlink(folder / "real", folder / "link");
  const ModelPart real{folder / "real" / "a.safetensors", "a", "test"},
      link{folder / "link" / "a.safetensors", "a", "test"};
  std::ofstream(real.path) << "a";
  EXPECT_EQ(cached_file(folder / "cache", real, convert::Target::Bf16),
            cached_file(folder / "cache", link, convert::Target::Bf16));
}

// As between two looks for it and the lock.
TEST_F(WeightCache, WhatAnotherRunHasWrittenIsNotWrittenAgain) {
  convert::Options options;
  options.is_there = [] { return true; };
  const auto never = [](int64_t, int64_t) { throw std::logic_error("writes"); };
  const fs::path out = folder / "out.safetensors";
  const convert::Result result = convert::convert(Checkpoint::open(part.path), Model::TextExpert, convert::Target::Bf16,
                                                  out, "key", {.step = never}, options);
  EXPECT_EQ(result.tensors, 0);
  EXPECT_FALSE(fs::exists(out));
  EXPECT_FALSE(fs::exists(out.string() + ".part"));
  EXPECT_FALSE(fs::exists(out.string() + ".part.done"));
}

// The lock is on a file, its name changes hands: who locks a file that was renamed meanwhile, or reads the notes of the one
// before, would put a file without its bytes in place.
TEST_F(WeightCache, ThoseWhoWriteOneFileTakeTurns) {
  const fs::path out = folder / "turns";
  const std::string bytes = "weights!";
  std::atomic<int> finished = 0, wrong = 0;
  // Until each has had its turns: how many tries that takes depends on the disk.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  const auto write = [&] {
    for (int turns = 0; turns < 75 && wrong == 0 && std::chrono::steady_clock::now() < deadline;) try {
        convert::PartFile file(out, "key", bytes.size());
        if (!file.done("piece")) {
          file.write(bytes.data(), bytes.size(), 0);
          file.note("piece", json::object());
        }
        file.finish();
        ++turns, ++finished;
        std::string got;
        std::ifstream(out) >> got;
        if (got != bytes) ++wrong;
      } catch (const std::runtime_error& error) {
        if (std::string(error.what()).find("is written by another run") == std::string::npos) ++wrong;
      }
  };
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 4; ++i) writers.emplace_back(write);
  }
  EXPECT_EQ(finished, 300);
  EXPECT_EQ(wrong, 0);
}

TEST_F(WeightCache, AFullDiskGetsItsRoomBack) {
  const fs::path out = folder / "out.safetensors";
  const auto full = [](int64_t finished, int64_t) {
    if (finished == 3) throw convert::DiskFull("full");
  };
  for (const bool discards : {false, true}) {
    convert::Options options;
    options.discard_when_full = discards;
    EXPECT_THROW(convert::convert(Checkpoint::open(part.path), Model::TextExpert, convert::Target::Bf16, out, "key",
                                  {.step = full}, options),
                 convert::DiskFull);
    EXPECT_EQ(fs::exists(out.string() + ".part"), !discards);
    EXPECT_EQ(fs::exists(out.string() + ".part.done"), !discards);
  }
}

TEST_F(WeightCache, ADiskThatBecomesFullWhileItIsWrittenGetsItsRoomBack) {
  const auto full = [](int64_t finished, int64_t) {
    if (finished == 3) throw convert::DiskFull("full");
  };
  EXPECT_THROW(get(kCard, full), convert::DiskFull);
  for (const char* ending : {"", ".part", ".part.done"}) EXPECT_FALSE(fs::exists(file().string() + ending)) << ending;
}

TEST_F(WeightCache, ASourceThatIsWrittenToWhileItIsCopiedLeavesNoCopy) {
  const auto touch = [&](int64_t finished, int64_t) {
    if (finished == 3) fs::last_write_time(part.path, fs::last_write_time(part.path) + std::chrono::seconds(3));
  };
  EXPECT_FALSE(get(kCard, touch));
  EXPECT_NE(said().find("must stay as it is while it is copied, was written to"), std::string::npos) << said();
  for (const char* ending : {"", ".json", ".part", ".part.done"})
    EXPECT_FALSE(fs::exists(file().string() + ending)) << ending;
  EXPECT_TRUE(get(kCard)) << "the next time it is left alone";
}

// A copy of another model put in its place, with the statement of the right one.
TEST_F(WeightCache, IsTheFileThatWasWritten) {
  ASSERT_TRUE(get(kCard));
  const Checkpoint copy = Checkpoint::open(file());
  std::map<std::string, Tensor> tensors;
  for (const auto& entry : copy.tensors()) tensors[entry.first] = copy.map(entry.first).clone();
  write_safetensors(file(), tensors, {{"format", "pt"}});
  ASSERT_TRUE(get(kCard));
  EXPECT_NE(said().find("is another file than was written"), std::string::npos) << said();
}

TEST_F(WeightCache, GoesOnWhereItWasInterrupted) {
  const auto stop = [](int64_t finished, int64_t) {
    if (finished == 7) throw Cancelled();
  };
  EXPECT_THROW(get(kCard, stop), Cancelled);
  EXPECT_FALSE(fs::exists(file()));
  EXPECT_TRUE(fs::exists(file().string() + ".part"));
  const auto done = [&] {
    std::ifstream lines(file().string() + ".part.done");
    return std::count(std::istreambuf_iterator<char>(lines), {}, '\n');
  };
  EXPECT_EQ(done(), 8);  // the key, and seven tensors
  const auto look = [&](int64_t finished, int64_t) {
    EXPECT_TRUE(finished > 0 || done() == 8);  // it does not begin anew
  };
  const std::optional<Checkpoint> copy = get(kCard, look);
  ASSERT_TRUE(copy);
  EXPECT_TRUE(same_bits(run(*copy, kCard).velocity, run(Checkpoint::open(part.path), kCard).velocity));
  EXPECT_FALSE(fs::exists(file().string() + ".part"));
}

TEST_F(WeightCache, IsNotWrittenByTwoAtOnce) {
  fs::create_directories(folder / "cache");
  const convert::PartFile other(file(), "another run", 100);
  EXPECT_FALSE(get(kCard));
  EXPECT_NE(said().find("is loaded from its own files, not from a copy in --cache-dir: "), std::string::npos) << said();
  EXPECT_NE(said().find("is written by another run"), std::string::npos) << said();
}

TEST_F(WeightCache, AsksForRoomFirst) {
  // An expert of one linear, whose copy takes twice what the disk has; its data are holes.
  const uint64_t room = fs::space(folder.path()).available;
  const int64_t rows = int64_t(room / 4096);
  StoredTensor linear{at::kFloat, {rows, 4096}, {4096, 1}, nullptr};
  write_sparse_shards(folder / "large", {{"blocks.0.ffn.0.weight", linear}}, 1);
  const ModelPart large{folder / "large", "large", "test"};
  IdentityCache identities;
  const auto never = [](const fs::path&, uint64_t, int64_t, int64_t) { throw std::logic_error("writes"); };
  EXPECT_FALSE(cached(Network::LowNoise, large, Checkpoint::open(large.path), kCard, false, folder / "cache",
                      identities, notes, never));
  EXPECT_NE(said().find(" and 1.07 GB to spare, its disk has "), std::string::npos) << said();
  EXPECT_NE(said().find("make room, or name a folder on another disk"), std::string::npos) << said();
}

TEST_F(WeightCache, IsRefusedWithTheReason) {
  EXPECT_FALSE(get(kCard, {}, /*merged=*/true));
  EXPECT_NE(said().find("a LoRA is added to its values before they are rounded"), std::string::npos) << said();
  EXPECT_FALSE(get({}));
  EXPECT_NE(said().find("its values are used as the file has them"), std::string::npos) << said();
  EXPECT_FALSE(fs::exists(folder / "cache"));
  const Checkpoint source = Checkpoint::open(part.path);
  EXPECT_NE(cache_form(Network::Vae, source, kCard, false).refusal, "");
  StoredTensors tensors = source.tensors();
  tensors.at("head.head.weight").dtype = at::kDouble;
  EXPECT_NE(cache_form(Network::LowNoise, source.renamed(tensors), kCard, false).refusal, "");
  std::ofstream(folder / "cache") << "a file";
  EXPECT_FALSE(get(kCard));
  EXPECT_NE(said().find("--cache-dir must be a folder, or one that can be made; "), std::string::npos) << said();
  fs::remove(part.path);
  EXPECT_THROW(
      {
        IdentityCache identities;
        cached(Network::LowNoise, part, source, kCard, false, folder / "other", identities, notes);
      },
      ModelError);
}

// Other runs share the folder: between the look at a copy and the opening of its file it may go or become another one.
TEST_F(WeightCache, ACopyThatOthersTouchBeforeItIsLoadedIsNotTaken) {
  const Tensor want = run(Checkpoint::open(part.path), kCard).velocity;
  std::string why;
  // `before` happens behind the look at the copy, `during` before its file is opened.
  const auto loaded = [&](const std::function<void()>& before, const std::function<void()>& during) {
    why.clear();
    Checkpoint copy = get(kCard).value();
    before();
    const auto build = [&](Checkpoint files) {
      during();
      return run(files, kCard).velocity;
    };
    const auto again = [&] {
      IdentityCache identities;
      return copy_there(Network::LowNoise, part, Checkpoint::open(part.path), kCard, false, folder / "cache",
                        identities);
    };
    return built_from_copy(std::move(copy), build, again, [&](const std::string& said) { why = said; });
  };
  const auto nothing = [] {};
  const auto goes = [&] { fs::remove(file()); };
  const auto is_replaced = [&] {  // by one of the same size whose last bytes are others
    fs::copy_file(file(), folder / "other", fs::copy_options::overwrite_existing);
    std::fstream out(folder / "other", std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(-64, std::ios::end);
    out << std::string(64, 'x') << std::flush;
    fs::rename(folder / "other", file());
  };
  const auto is_made_anew = [&] {
    goes();
    EXPECT_TRUE(get(kCard));
  };
  const std::string gone = "must be there until it is loaded, is absent now",
                    replaced = "it was replaced or written to before it was loaded";
  for (const auto& [act, text] :
       std::vector<std::pair<std::function<void()>, std::string>>{{goes, gone}, {is_replaced, replaced}}) {
    EXPECT_FALSE(loaded(act, nothing)) << text;
    EXPECT_NE(why.find(text), std::string::npos) << why;
    EXPECT_FALSE(loaded(nothing, act)) << text;
    EXPECT_NE(why.find(text), std::string::npos) << why;
  }
  EXPECT_FALSE(loaded(nothing, is_made_anew)) << "which of the two was opened is not known";
  EXPECT_EQ(why, replaced);
  for (const std::function<void()>& act : {std::function<void()>(nothing), std::function<void()>(is_made_anew)}) {
    const std::optional<Tensor> got = loaded(act, nothing);
    EXPECT_EQ(why, "");
    ASSERT_TRUE(got);
    EXPECT_TRUE(same_bits(*got, want));
  }
}

// 512 MiB stay for others, to the byte.
TEST_F(WeightCache, ADiskThatOthersFillMeanwhileEndsTheCopyAndGetsItsRoomBack) {
  constexpr uint64_t kLeft = uint64_t(512) << 20;
  int64_t told = 0;
  const auto write = [&](uint64_t left_behind_three) {
    notes = {};
    told = 0;
    IdentityCache identities;
    const CacheStep step = [&](const fs::path& to, uint64_t, int64_t finished, int64_t) {
      told = finished;
      EXPECT_TRUE(finished == 0 || fs::exists(to.string() + ".part"));
    };
    const FreeSpace free = [&](const fs::path& of) -> std::optional<uint64_t> {
      EXPECT_EQ(of, folder / "cache");
      return told < 3 ? uint64_t(10'000'000'000) : left_behind_three;
    };
    return cached(Network::LowNoise, part, Checkpoint::open(part.path), kCard, false, folder / "cache", identities,
                  notes, step, free);
  };
  EXPECT_FALSE(write(kLeft - 1));
  EXPECT_EQ(told, 3) << "the tensor behind it is not begun";
  EXPECT_NE(
      said().find("is loaded from its own files, not from a copy in --cache-dir: the disk of --cache-dir became full "
                  "while the copy was written: 0.54 GB are free, and 0.54 GB are left to others"),
      std::string::npos)
      << said();
  for (const char* ending : {"", ".json", ".part", ".part.done"})
    EXPECT_FALSE(fs::exists(file().string() + ending)) << ending;
  EXPECT_TRUE(write(kLeft));
  EXPECT_GT(told, 3);
}

}  // namespace wan
