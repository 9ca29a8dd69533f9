// Which model files a video was made from: told from their headers and samples of every tensor, in under a second.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/residency/file_stamp.h"
#include "engine/residency/parts.h"

struct stat;

namespace wan {

/// The SHA-256 of the samples of every tensor, added as four numbers modulo 2^64 each; zeros where there are none. Equal
/// for the same weights by other names, in another order, with other metadata, and where those of several files are
/// added.
struct WeightsSum {
  std::array<uint64_t, 4> parts = {};

  /// `sum` has 64 hexadecimal digits.
  void add(const std::string& sum);
  void add(const WeightsSum& other) {
    for (size_t i = 0; i < parts.size(); ++i) parts[i] += other.parts[i];
  }
  bool operator==(const WeightsSum&) const = default;
};

struct FileIdentity {
  std::string name;    // PartFile::name
  uint64_t size;       // of the whole file, bytes
  std::string digest;  // "KIND:HEX", a SHA-256 in lower-case hexadecimal digits
  /// Matrices and kernels of convolutions that are zero wherever they were looked at (the samples and six pages more, or
  /// holes of the file): a trained network has none.
  std::vector<std::string> zeros = {};
  std::string part = {}, rule = {};  // PartFile's; empty in records of older versions
  FileStamp stamp = {};              // while it was read; not in records
  WeightsSum weights = {};           // not in records
};

/// Kinds of digest. Of a checkpoint file: its header (header_of, models/weights/format/format.h), then of every tensor,
/// in the order of names, the first 4096 bytes and the 4096 of its middle page, or all of up to 8192 bytes. A change
/// between the samples is not seen.
inline constexpr const char* kSamplesDigest = "samples:";
/// Of a file without tensors: all its bytes.
inline constexpr const char* kWholeDigest = "sha256:";
/// In records of older versions: the header alone, which another checkpoint of the same shapes has, too; of a file
/// without tensors all of it.
inline constexpr const char* kHeaderDigest = "header:";

FileStamp stamp_of(const struct stat& state);

/// Digests that were made before, for as long as a file's path, inode, size and times of change stay what they were.
/// May be used by several threads.
class IdentityCache {
 public:
  /// A file at one moment.
  struct Key {
    std::string path;
    FileStamp stamp;
    auto operator<=>(const Key&) const = default;
  };

  /// What was found in a file.
  struct Known {
    std::string digest;
    std::vector<std::string> zeros;  // FileIdentity::zeros
    WeightsSum weights = {};
  };

  /// Nothing where it is not known.
  std::optional<Known> find(const Key& key) const;
  /// Does nothing for a file whose content was changed in the last two seconds: a further change could bear the same
  /// time.
  void keep(const Key& key, const Known& known);

  /// What was read for digests made through this cache: samples and whole files, without headers.
  uint64_t bytes_read() const { return bytes_read_; }
  void count(uint64_t bytes) { bytes_read_ += bytes; }

 private:
  mutable std::mutex mutex_;
  std::map<Key, Known> known_;
  std::atomic<uint64_t> bytes_read_ = 0;
};

inline constexpr int kIdentityThreads = 8;  // they wait for the disk, not for the processor

/// The identities of `files`, in their order, following links. Equal for every number of threads. Throws ModelError
/// where a file is absent, changes meanwhile or has a broken header.
std::vector<FileIdentity> identify(const std::vector<PartFile>& files, IdentityCache& cache,
                                   int threads = kIdentityThreads);

/// Of every file of the model. Throws ModelError.
std::vector<FileIdentity> identities(const ModelParts& parts, IdentityCache& cache);
/// With a cache of its own.
std::vector<FileIdentity> identities(const ModelParts& parts);

/// What a record of an older version calls a file: kHeaderDigest. Throws ModelError.
std::string header_digest(const std::filesystem::path& file);

}  // namespace wan
