#include "engine/residency/network_sizes.h"

#include <optional>
#include <string>

#include "engine/residency/planned_network.h"

namespace wan {

namespace {

uint64_t aligned(uint64_t bytes) {
  return (bytes + kSlotAlignment - 1) / kSlotAlignment * kSlotAlignment;
}

/// The stored tensors of a weight that lie in memory of their own.
std::vector<Tensor> own_tensors(const Storage& storage) {
  std::vector<Tensor> tensors;
  if (const Floats* floats = std::get_if<Floats>(&storage)) {
    if (!floats->mapped) tensors.push_back(floats->values);
  } else if (const Int8Rows* int8 = std::get_if<Int8Rows>(&storage)) {
    tensors = {int8->rows.codes, int8->rows.scale};
  } else if (const InCodes* codes = std::get_if<InCodes>(&storage); codes && !codes->mapped) {
    for (const StoredPart& part : codes->parts) {
      tensors.push_back(part.is_coded() ? part.codes->codes : part.values);
      if (part.is_coded() && part.codes->scale.defined()) tensors.push_back(part.codes->scale);
    }
  }
  return tensors;
}

uint64_t file_bytes(const Weight& weight, const Checkpoint& headers) {
  uint64_t sum = 0;
  for (const Part& part : weight.parts()) {
    const StoredTensor& stored = headers.tensors().at(part.name);
    sum += stored.bytes();
    if (stored.scales && stored.scales->blocks) sum += stored.scales->blocks->bytes();
  }
  return sum;
}

/// Whether the bytes of the files are those of the device, one part after another.
bool is_as_filed(const Weight& weight, const Checkpoint& headers) {
  if (std::holds_alternative<Int8Rows>(weight.storage())) return false;
  if (weight.bytes() != file_bytes(weight, headers)) return false;
  const Floats* floats = std::get_if<Floats>(&weight.storage());
  for (const Part& part : weight.parts()) {
    const StoredTensor& stored = headers.tensors().at(part.name);
    if (floats && (stored.coding || stored.dtype != floats->values.scalar_type())) return false;
  }
  return true;
}

/// The number in "blocks.N."; nothing for other names.
std::optional<size_t> block_of(const std::string& name) {
  const std::string prefix = "blocks.";
  if (!name.starts_with(prefix)) return std::nullopt;
  const size_t end = name.find('.', prefix.size());
  if (end == std::string::npos || end - prefix.size() > 4) return std::nullopt;
  const std::string digits = name.substr(prefix.size(), end - prefix.size());
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return size_t(std::stoul(digits));
}

bool has_blocks(Network network) {
  return network != Network::Vae && network != Network::AudioEncoder;
}

void add_to_block(BlockSizes& block, const Weight& weight, const Checkpoint& headers) {
  uint64_t bytes = 0;
  for (const Tensor& tensor : own_tensors(weight.storage())) bytes += aligned(tensor.nbytes());
  block.device += bytes;
  block.file += file_bytes(weight, headers);
  if (!is_as_filed(weight, headers)) block.made += bytes;
}

}  // namespace

NetworkSizes network_sizes(Network network, const ModelParts& parts, const Placement& placement, bool copied) {
  const PlannedNetwork planned = planned_network(network, parts, placement, copied);
  NetworkSizes sizes;
  sizes.network = network;
  sizes.mapped = planned.mapped && !planned.headers.is_coded();
  for (const Weight& weight : planned.weights) {
    const auto block = has_blocks(network) ? block_of(weight.parts().at(0).name) : std::nullopt;
    if (!block) {
      sizes.outside += weight.bytes();
      sizes.outside_file += file_bytes(weight, planned.headers);
      continue;
    }
    if (sizes.blocks.size() <= *block) sizes.blocks.resize(*block + 1);
    add_to_block(sizes.blocks[*block], weight, planned.headers);
    if (weight.shape().size() == 2) sizes.block_flops += 2.0 * double(weight.shape()[0]) * double(weight.shape()[1]);
  }
  return sizes;
}

std::map<Network, NetworkSizes> network_sizes(const ModelParts& parts, const Placement& placement, bool copied) {
  std::map<Network, NetworkSizes> all;
  for (const auto& [network, part] : parts.networks) all[network] = network_sizes(network, parts, placement, copied);
  return all;
}

}  // namespace wan
