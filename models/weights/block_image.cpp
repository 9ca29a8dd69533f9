#include "models/weights/block_image.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <algorithm>

namespace wan {
namespace {

constexpr uint64_t kElementAlignment = 64;
/// Of the ring's buffers, which the device may still read while others are read into.
constexpr size_t kLeases = 3;

uint64_t aligned(uint64_t bytes) {
  return (bytes + kElementAlignment - 1) / kElementAlignment * kElementAlignment;
}

/// Whether part number `i` of the storage is kept in codes.
bool is_in_codes(const Storage& storage, size_t i) {
  const InCodes* codes = std::get_if<InCodes>(&storage);
  return !codes || codes->parts.at(i).is_coded();
}

/// Whether the file's elements become the device's one by one: converted, or codes as they are.
bool is_direct(const Storage& storage, size_t i, const StoredPart& stored, const HostPart& source) {
  if (std::holds_alternative<Floats>(storage)) return !stored.is_coded();
  if (!std::holds_alternative<InCodes>(storage)) return false;
  return is_in_codes(storage, i) ? stored.is_coded() && !source.in_file.empty() : !stored.is_coded();
}

}  // namespace

Staging::Staging(const std::vector<Weight>& weights, const Checkpoint& file) {
  for (const Weight& weight : weights) {
    uint64_t bytes = 0;
    for (const Part& part : weight.parts()) bytes += aligned(file.tensors().at(part.name).bytes());
    bytes_ = std::max(bytes_, bytes);
  }
  memory_ = ordinary_memory(std::max<uint64_t>(bytes_, SourceFile::kAlignment));
}

std::vector<StoredPart> Staging::hold(const Weight& weight, const Checkpoint& file,
                                      std::vector<StoredPart> parts) const {
  uint64_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!is_view(file.tensors().at(weight.parts()[i].name), parts[i])) continue;
    at::Tensor& tensor = values_or_codes(parts[i]);
    const uint64_t bytes = tensor.nbytes();
    tensor = at::from_blob(
        memory_.get() + at, tensor.sizes(), [memory = memory_](void*) {}, tensor.options());
    at += aligned(bytes);
  }
  return parts;
}

void Staging::release() {
  if (bytes_ > 0) madvise(memory_.get(), bytes_ / SourceFile::kAlignment * SourceFile::kAlignment, MADV_DONTNEED);
}

/// What fills some of the memory of a weight.
struct BlockImage::Part {
  HostPart source;
  std::vector<uint64_t> to = {};          // offsets in the region, one for each tensor of the host
  std::vector<Tensor> kept = {};          // what was made and may be used again
  std::optional<TensorLoad> direct = {};  // what becomes its first tensor, without a destination
  at::ScalarType dtype = at::kByte;       // of that tensor on the device

  bool is_converted() const { return direct && direct->from.dtype != dtype; }
  Tensor destination(const Tensor& region) const {
    const int64_t bytes = direct->from.elements() * int64_t(c10::elementSize(dtype));
    return region.narrow(0, int64_t(to.at(0)), bytes).view(dtype);
  }
};

/// One weight.
struct BlockImage::Source {
  std::vector<Part> parts;
  std::vector<TensorLoad> staged;  // into the staging, for the parts that are not direct

  bool wants_staging() const {
    return std::any_of(parts.begin(), parts.end(), [](const Part& part) { return !part.direct && part.kept.empty(); });
  }
  bool has_codes_as_filed() const {
    return std::any_of(parts.begin(), parts.end(),
                       [](const Part& part) { return !part.direct && !part.source.in_file.empty(); });
  }
};

/// What is read for one copy of a block.
struct BlockImage::Loads {
  struct Kept {
    Part* part;
    Tensor tensor;
  };
  std::vector<TensorLoad> to_device, as_filed, to_host;  // as_filed: to the device, and left in the page cache
  std::vector<Kept> kept;                                // what to_host fills
};

BlockImage::BlockImage(std::shared_ptr<WeightFiles> files, std::shared_ptr<Staging> staging,
                       std::shared_ptr<HostRoom> room, bool keeps)
    : files_(std::move(files)), staging_(std::move(staging)), room_(std::move(room)), keeps_(keeps) {}

BlockImage::~BlockImage() {
  room_->give_back(bytes_);
  room_->give_back_pinned(pinned_);
}

size_t BlockImage::add(Weight& weight, const Checkpoint& file) {
  Source& source = *sources_.emplace_back(std::make_unique<Source>());
  std::vector<StoredPart> stored;
  for (const wan::Part& part : weight.parts()) stored.push_back(stored_part(file, part.name));
  const std::vector<HostPart> mapped = weight.host_parts(stored);
  const std::vector<StoredPart> held = staging_->hold(weight, file, stored);
  std::vector<HostPart> made = weight.host_parts(held);
  const bool one_each = mapped.size() == stored.size();  // else one is made of all parts
  for (size_t i = 0; i < made.size(); ++i) {
    const std::string& name = weight.parts()[i].name;
    const StoredTensor& tensor = file.tensors().at(name);
    if (!one_each || !is_view(tensor, stored[i]) || !is_direct(weight.storage(), i, stored[i], mapped[i])) {
      source.parts.push_back({.source = std::move(made[i])});
      continue;
    }
    Part part{.source = mapped[i], .direct = TensorLoad{.name = name, .from = as_loaded(tensor, stored[i])}};
    if (!stored[i].is_coded()) part.dtype = weight.tensors().at(part.source.to[0].tensor).scalar_type();
    source.parts.push_back(std::move(part));
  }
  for (size_t i = 0; i < stored.size(); ++i) {
    const StoredTensor& tensor = file.tensors().at(weight.parts()[i].name);
    if ((one_each && source.parts[i].direct) || !is_view(tensor, stored[i])) continue;
    source.staged.push_back(
        {.name = weight.parts()[i].name, .from = as_loaded(tensor, stored[i]), .to = values_or_codes(held[i])});
  }
  return sources_.size() - 1;
}

void BlockImage::lies_at(size_t weight, const std::vector<uint64_t>& starts) {
  for (Part& part : sources_.at(weight)->parts)
    for (const HostPart::Target& target : part.source.to) part.to.push_back(starts.at(target.tensor) + target.offset);
}

void BlockImage::keep(Part& part, std::vector<Tensor> tensors, CopyEngine& engine) {
  bytes_ += part.source.bytes;
  if (room_->take_pinned(part.source.bytes)) {
    pinned_ += part.source.bytes;
    for (Tensor& tensor : tensors) tensor = engine.kept(tensor);
  }
  part.kept = std::move(tensors);
}

void BlockImage::load_direct(const Tensor& region, CopyEngine& engine) {
  Loads loads;
  const auto add = [](std::vector<TensorLoad>& to, const Part& part, const Tensor& destination) {
    to.push_back(*part.direct);
    to.back().to = destination;
  };
  // Room that was taken for what does not come.
  struct Taken {
    HostRoom& room;
    uint64_t bytes = 0;
    ~Taken() { room.give_back(bytes); }
  } taken{*room_};
  for (const auto& source : sources_)
    for (Part& part : source->parts) {
      if (!part.direct || !part.kept.empty()) continue;
      if (keeps_ && part.is_converted() && room_->take(part.source.bytes)) {
        taken.bytes += part.source.bytes;
        const Tensor tensor = at::empty({part.direct->from.elements()}, at::TensorOptions(part.dtype));
        add(loads.to_host, part, tensor);
        loads.kept.push_back({&part, tensor});
      } else {
        add(keeps_ && !part.is_converted() ? loads.as_filed : loads.to_device, part, part.destination(region));
      }
    }
  const auto memory = [&](size_t bytes) { return engine.ring_memory(bytes); };
  files_->load(loads.to_host, *host_copier(), Caching::Pass, memory, stopped_);
  for (const Loads::Kept& kept : loads.kept) {
    taken.bytes -= kept.part->source.bytes;
    keep(*kept.part, {kept.tensor}, engine);
  }
  const std::unique_ptr<PieceCopier> pieces = engine.pieces(kLeases);
  files_->load(loads.to_device, *pieces, Caching::Pass, memory, stopped_);
  files_->load(loads.as_filed, *pieces, Caching::Keep, memory, stopped_);
}

void BlockImage::copy_staged(Source& source, const Tensor& region, CopyEngine& engine) {
  if (!source.staged.empty() && source.wants_staging())
    files_->load(source.staged, *host_copier(),
                 keeps_ && source.has_codes_as_filed() ? Caching::Keep : Caching::Pass,
                 [&](size_t bytes) { return engine.ring_memory(bytes); }, stopped_);
  for (Part& part : source.parts) {
    if (part.direct) continue;
    std::vector<Tensor> tensors = !part.kept.empty() ? part.kept : part.source.in_file;
    if (tensors.empty()) {
      tensors = part.source.make();
      if (keeps_ && room_->take(part.source.bytes)) {
        keep(part, tensors, engine);
        tensors = part.kept;
      }
    }
    for (size_t i = 0; i < tensors.size(); ++i)
      engine.copy(tensors[i], region.narrow(0, int64_t(part.to.at(i)), int64_t(tensors[i].nbytes())));
  }
}

void BlockImage::copy_to(const Tensor& region, CopyEngine& engine, Copied& done) {
  load_direct(region, engine);
  bool staged = false;
  for (const auto& source : sources_) {
    staged = staged || (!source->staged.empty() && source->wants_staging());
    copy_staged(*source, region, engine);
    for (Part& part : source->parts) {
      done.bytes += part.source.bytes;
      if (!part.direct) continue;
      if (!part.kept.empty())
        engine.copy(part.kept[0], region.narrow(0, int64_t(part.to[0]), int64_t(part.kept[0].nbytes())));
      for (size_t i = 1; i < part.source.in_file.size(); ++i) {  // scales
        const Tensor& scales = part.source.in_file[i];
        engine.copy(scales, region.narrow(0, int64_t(part.to.at(i)), int64_t(scales.nbytes())));
      }
    }
  }
  if (staged) staging_->release();
}

}  // namespace wan
