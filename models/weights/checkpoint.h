// The tensors of one network on disk: one file, or a folder of shards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/dequantise/coded_matrix.h"
#include "models/weights/stored_tensor.h"

namespace wan {

/// The tensors of one network, by the names in the file.
class Checkpoint {
 public:
  /// `path` is a folder (checkpoint_layout, models/weights/format/layout.h, tells which of its files count), a
  /// `.safetensors` file, a torch archive (`.pth`, `.pt`, `.bin`, `.pkl`) or a `.gguf` file. Reads headers only. Throws
  /// ModelError for files that are absent, truncated, hostile or contradict their index, and for scales that do not fit
  /// their weights (join_scales, models/weights/quantised/join_scales.h). Names have no prefix that all of them bear.
  static Checkpoint open(const std::filesystem::path& path);
  /// The files that open() would read, the index among them. Throws ModelError for a broken index.
  static std::vector<std::filesystem::path> paths(const std::filesystem::path& path);
  /// The same files with their tensors described anew, such as by other names; each lies in one of the files.
  Checkpoint renamed(StoredTensors tensors) const;
  /// Names and shapes without data: builds a network on the meta device, at no memory.
  static Checkpoint names_only(StoredTensors tensors, std::string label);

  const StoredTensors& tensors() const { return tensors_; }
  /// The files that were opened, in the order of their names.
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }
  /// What messages call it: the path as given.
  const std::string& label() const { return label_; }
  /// Other networks in the same file, which are left out, by the first word of their names: "vae", "text_encoders".
  const std::vector<std::string>& left_out() const { return left_out_; }
  /// Of all tensors in the files, with their scales.
  uint64_t bytes() const;
  /// Whether a tensor is coded, and so takes memory of its own even where files are mapped.
  bool is_coded() const;

  /// A read-only view of the mapping, which it keeps alive (meta where there is no file). Never write to it. Only a
  /// tensor whose address in the file is no multiple of its element size is copied, and a coded one is widened to
  /// float32, at each call. Throws ModelError for unknown names.
  at::Tensor map(const std::string& name) const;
  /// A tensor that is kept in codes, as it lies in the file: codes and scales on the CPU, of which the codes are a view of
  /// the mapping. Nothing for a tensor in floats of 16 bits or more, and for one that is no matrix [N, K] of whole blocks.
  /// Throws ModelError for unknown names and for scales that are not finite.
  std::optional<kernels::CodedMatrix> coded(const std::string& name) const;

 private:
  /// Throws ModelError.
  const StoredTensor& find(const std::string& name) const;
  /// The codes of a tensor with its scales, as a matrix of so many rows.
  kernels::CodedMatrix matrix_of(const std::string& name, const kernels::Coding& coding, int64_t rows) const;

  StoredTensors tensors_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::string label_;
  std::vector<std::string> left_out_;
};

}  // namespace wan
