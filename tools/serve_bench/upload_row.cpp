// A large upload, beside dd.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "tools/bench/child.h"
#include "tools/bench/statistics.h"
#include "tools/serve_bench/rows.h"

namespace wan::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kPairs = 3;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// What earlier runs wrote is on the disk, so that it is not written in the time of the next one.
void settle(const fs::path& folder) {
  const int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  syncfs(file);
  close(file);
}

double dd_seconds(const fs::path& folder, uint64_t bytes) {
  const fs::path file = folder / "dd.bin";
  const ChildResult result = run_child({"dd", "if=/dev/zero", "of=" + file.string(), "bs=1M", "iflag=count_bytes",
                                        "count=" + std::to_string(bytes), "conv=fdatasync"},
                                       /*quiet=*/true);
  std::error_code ignored;
  const uint64_t written = fs::file_size(file, ignored);
  fs::remove(file, ignored);
  if (result.status != 0 || written != bytes) throw std::runtime_error("[dd] does not write to the folder of --data");
  return result.seconds;
}

/// Bytes that no file system makes fewer: no two pieces are equal.
class Pieces {
 public:
  Pieces() {
    for (uint64_t& word : words_) word = random_();
  }
  std::string_view next(uint64_t most) {
    for (size_t i = 0; i < words_.size(); i += 64) words_[i] = random_();
    return {reinterpret_cast<const char*>(words_.data()), size_t(std::min<uint64_t>(most, words_.size() * 8))};
  }

 private:
  std::mt19937_64 random_{1};
  std::vector<uint64_t> words_ = std::vector<uint64_t>((1 << 20) / 8);
};

double upload_seconds(uint16_t port, uint64_t bytes, Pieces& pieces) {
  Connection connection(port);
  const Clock::time_point begin = Clock::now();
  connection.send(
      request_text(port, "POST", "/files/upload",
                   "Content-Type: application/octet-stream\r\nX-Fal-File-Name: bench.bin\r\nContent-Length: " +
                       std::to_string(bytes) + "\r\n"));
  for (uint64_t sent = 0; sent < bytes;) {
    const std::string_view piece = pieces.next(bytes - sent);
    connection.send(piece);
    sent += piece.size();
  }
  const HttpAnswer answer = connection.ask("", 300);
  if (answer.status != 200)
    throw std::runtime_error("[upload] was answered " + std::to_string(answer.status) + ": " +
                             answer.body.substr(0, 200));
  return seconds_since(begin);
}

/// The uploads are no longer needed; the server keeps its list of them.
void remove_uploads(const fs::path& data, uint64_t bytes) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(data / "uploads")) files.push_back(entry.path());
  if (files.size() != 1 || fs::file_size(files[0]) != bytes)
    throw std::runtime_error("[upload] must be one file of " + std::to_string(bytes) + " bytes in the data folder");
  fs::remove(files[0]);
}

}  // namespace

ServeRow upload_row(const Scene& scene) {
  const uint64_t bytes = scene.options().upload;
  ServeRow row{.name = "upload", .setting = std::to_string(bytes >> 20) + " MiB in one request"};
  if (const fs::space_info space = fs::space(scene.folder()); space.available < 2 * bytes)
    throw std::runtime_error("[disk] must have room for twice the upload, and has " + std::to_string(space.available) +
                             " bytes; --size makes it smaller");
  const std::unique_ptr<Program> server = scene.serve("upload");
  const uint16_t port = server->port();
  wait_for(port, "/ready");
  Pieces pieces;
  upload_seconds(port, 1 << 20, pieces);  // what is loaded at the first one
  remove_uploads(scene.folder() / "upload", 1 << 20);
  const double before = resident_mb(server->process());
  const bool is_reset = reset_peak(server->process());
  std::vector<double> ours, theirs, ratios;
  for (int pair = 0; pair < kPairs; ++pair) {
    for (int turn = 0; turn < 2; ++turn) {
      settle(scene.folder());
      if ((turn + pair) % 2 == 0) {
        ours.push_back(double(bytes) / 1e6 / upload_seconds(port, bytes, pieces));
        remove_uploads(scene.folder() / "upload", bytes);
      } else {
        theirs.push_back(double(bytes) / 1e6 / dd_seconds(scene.folder(), bytes));
      }
    }
    ratios.push_back(ours.back() / theirs.back());
  }
  row.figures = {{"mb_per_second", summarise(ours).median},
                 {"dd_mb_per_second", summarise(theirs).median},
                 {"over_dd", summarise(ratios).median},
                 {"least_over_dd", *std::min_element(ratios.begin(), ratios.end())},
                 {"most_over_dd", *std::max_element(ratios.begin(), ratios.end())},
                 {"rss_before_mb", before},
                 {"peak_rss_mb", peak_mb(server->process())}};
  row.note =
      std::to_string(kPairs) +
      " pairs in alternating order, all bytes on the disk at the end of each; dd bs=1M conv=fdatasync from /dev/zero";
  if (!is_reset) row.note += "; the peak is that of the process's whole life";
  return row;
}

}  // namespace wan::bench
