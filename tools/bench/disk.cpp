#include "tools/bench/disk.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "models/files/atomic_file.h"
#include "models/files/mapped_file.h"
#include "models/weights/load_tensors.h"
#include "tools/bench/child.h"
#include "tools/bench/measure.h"
#include "tools/bench/statistics.h"

namespace wan::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A file that nobody else needs: bytes that neither a disk nor a file system shortens.
class WrittenFile {
 public:
  WrittenFile(const fs::path& folder, uint64_t size)
      : path_(folder / ("wan-bench-" + std::to_string(getpid()) + ".bin")) {
    AtomicFile file(path_.string());
    std::mt19937_64 random(1);
    std::vector<uint64_t> piece(size_t(16 << 20) / 8);
    for (uint64_t& word : piece) word = random();
    for (uint64_t written = 0; written < size;) {
      for (size_t i = 0; i < piece.size(); i += 64) piece[i] = random();  // no two pieces are equal
      const uint64_t count = std::min<uint64_t>(size - written, piece.size() * 8);
      file.write(piece.data(), count);
      written += count;
    }
    file.commit();
  }
  ~WrittenFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Takes a file's pages out of memory.
void make_cold(const fs::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw std::runtime_error("[" + path.filename().string() + "] cannot be opened");
  fdatasync(file);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
}

void make_warm(const fs::path& path) {
  if (run_child({"dd", "if=" + path.string(), "of=/dev/null", "bs=16M"}, /*quiet=*/true).status != 0)
    throw std::runtime_error("[dd] does not read " + path.filename().string());
}

double dd_seconds(const fs::path& path) {
  const ChildResult result = run_child({"dd", "if=" + path.string(), "of=/dev/null", "bs=16M"}, /*quiet=*/true);
  if (result.status != 0) throw std::runtime_error("[dd] does not read " + path.filename().string());
  return result.seconds;
}

/// The file as tensors of the size of a large linear, all of which go to one place: no memory of the file's size is needed.
class Loads {
 public:
  Loads(const fs::path& path, at::ScalarType stored, const DiskOptions& options) {
    const auto file = MappedFile::open(path);
    const auto element = uint64_t(c10::elementSize(stored));
    const int64_t whole = int64_t(file->bytes().size() / element), longest = 5120 * 13824;
    to_ = at::empty({std::min(whole, longest)}, at::kBFloat16);
    for (int64_t first = 0; first < whole; first += longest) {
      const int64_t count = std::min(longest, whole - first);
      loads_.push_back({"tensor " + std::to_string(loads_.size()),
                        {.dtype = stored, .shape = {count}, .strides = {1}, .file = file, .offset = first * element},
                        to_.narrow(0, 0, count)});
    }
    options_.ring.readers = options.readers;
    options_.ring.buffers = options.buffers;
    options_.ring.buffer_bytes = size_t(options.buffer_megabytes) << 20;
  }
  LoadCounts run() const { return load_tensors(loads_, options_); }

 private:
  at::Tensor to_;
  std::vector<TensorLoad> loads_;
  LoadOptions options_;
};

double rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

json row(const std::string& name, const std::string& state, const std::vector<double>& seconds, uint64_t bytes) {
  const Summary summary = summarise(seconds);
  return {{"name", name},
          {"state", state},
          {"seconds", rounded(summary.median)},
          {"p10", rounded(summary.p10)},
          {"p90", rounded(summary.p90)},
          {"gb_per_s", rounded(double(bytes) / summary.median / 1e9)}};
}

/// Pairs of a load and dd, the first one first in every other pair.
void measure_pairs(const std::string& name, const Loads& loads, const fs::path& path, bool cold, int runs,
                   std::ostream& out) {
  const uint64_t bytes = fs::file_size(path);
  std::vector<double> ours, theirs, ratios;
  LoadCounts counts;
  const auto prepare = [&] {
    if (cold) make_cold(path);
  };
  if (!cold) make_warm(path);
  for (int i = 0; i < runs; ++i) {
    for (int turn = 0; turn < 2; ++turn) {
      prepare();
      if ((turn + i) % 2 == 0) {
        ours.push_back(wall_milliseconds([&] { counts = loads.run(); }) / 1000);
        continue;
      }
      // The faster of two: the first one may pay for memory that the system has to find for its pages.
      const double first = dd_seconds(path);
      prepare();
      theirs.push_back(std::min(first, dd_seconds(path)));
    }
    ratios.push_back(rounded(theirs.back() / ours.back()));
  }
  const std::string state = cold ? "cold" : "warm";
  out << row("dd", state, theirs, bytes).dump() << std::endl;
  json load = row(name, state, ours, bytes);
  load["direct"] = rounded(double(counts.direct) / double(std::max<uint64_t>(counts.direct + counts.buffered, 1)));
  load["ratio"] = rounded(summarise(ratios).median);
  load["ratios"] = ratios;
  out << load.dump() << std::endl;
}

}  // namespace

void disk(const DiskOptions& options, std::ostream& out) {
  constexpr uint64_t kLeast = 1'000'000;
  std::optional<WrittenFile> written;
  fs::path path = options.file;
  if (options.file.empty()) {
    if (options.size < kLeast)
      throw std::invalid_argument("[disk] must have a file, or --size of at least 1MB of one to write, got neither");
    written.emplace(options.folder.empty() ? fs::temp_directory_path() : fs::path(options.folder), options.size);
    path = written->path();
  }
  std::error_code absent;
  if (!fs::is_regular_file(path, absent) || fs::file_size(path, absent) < kLeast)
    throw std::invalid_argument("[disk] must have a file of at least 1 MB, got " + path.filename().string());
  const Loads as_stored(path, at::kBFloat16, options), rounded_to_bf16(path, at::kFloat, options);
  for (const bool cold : {true, false}) {
    measure_pairs("load", as_stored, path, cold, options.runs, out);
    measure_pairs("load_as_bf16", rounded_to_bf16, path, cold, options.runs, out);
  }
}

}  // namespace wan::bench
