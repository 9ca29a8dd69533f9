// Checkpoints of full size that take no disk: the headers are real, the data are holes.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

#include "models/weights/stored_tensor.h"

namespace wan {

/// The list `tests/golden/tensors/<name>.json` as a checkpoint without data, e.g. "official_dit_t2v_a14b".
std::map<std::string, StoredTensor> published_tensors(const std::string& name);

/// Writes `count` shards with their index into `folder`, as equal in size as whole tensors allow.
void write_sparse_shards(const std::filesystem::path& folder, const std::map<std::string, StoredTensor>& tensors,
                         int64_t count);
/// Writes an archive as torch.save does: a pickled state dict, one record for each storage at a multiple of 64 bytes,
/// zip64 fields for what lies past 4 GiB.
void write_sparse_pth(const std::filesystem::path& path, const std::map<std::string, StoredTensor>& tensors);
/// Writes a GGUF file: matrices of the blocks in Q4_K, other tensors in F32, the first two of five axes as one.
void write_sparse_gguf(const std::filesystem::path& path, const std::map<std::string, StoredTensor>& tensors);
/// The folder of Wan2.2-T2V-A14B: two experts of six shards (57 GB each), text encoder, VAE, config.json.
void write_sparse_t2v_folder(const std::filesystem::path& folder);

/// Records for a zip archive, stored as they are: for the tests of the reader.
class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path);
  ~ZipWriter();
  ZipWriter(const ZipWriter&) = delete;
  /// A record of `size` bytes that begins with `bytes`; the rest is a hole.
  void add(const std::string& name, std::string_view bytes, uint64_t size);
  void add(const std::string& name, std::string_view bytes) { add(name, bytes, bytes.size()); }
  void finish();

 private:
  void write(std::string_view bytes);
  int file_;
  uint64_t at_ = 0;
  uint64_t entries_ = 0;
  std::string directory_;
};

}  // namespace wan
