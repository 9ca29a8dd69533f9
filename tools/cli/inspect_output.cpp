#include "tools/cli/inspect_output.h"

#include "engine/base/text.h"
#include "models/files/error.h"
#include "models/weights/dtype.h"

namespace wan {

namespace {

std::string counted(size_t number, const std::string& noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

std::string dtypes_text(const std::map<std::string, int64_t>& dtypes) {
  if (dtypes.size() == 1) return dtypes.begin()->first;
  std::string text;
  for (const auto& [dtype, tensors] : dtypes)
    text += (text.empty() ? "" : ", ") + std::to_string(tensors) + " " + dtype;
  return text.empty() ? "nothing" : text;
}

std::string config_text(const nlohmann::ordered_json& config) {
  using nlohmann::ordered_json;
  std::string text;
  for (const auto& [key, value] : config.items()) {
    text += (text.empty() ? "" : ", ") + printable(key) + " " +
            printable(value.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
  }
  return text;
}

const char* word(FileState state) {
  switch (state) {
    case FileState::Same:
      return "ok";
    case FileState::Differs:
      return "differs";
    case FileState::Absent:
      return "absent";
    case FileState::NotListed:
      return "not listed";
  }
  return "";
}

}  // namespace

std::string to_text(const Inspection& inspection, bool with_tensors) {
  std::string text = shown_text(inspection.path) + ": " + inspection.kind + "\n";
  for (const InspectedNetwork& network : inspection.networks) {
    if (!network.why.empty()) {
      text += shown_text(network.name) + ": " + network.kind + ", " + network.why + "\n";
      continue;
    }
    text += shown_text(network.name) + ": " + network.kind + ", " + counted(network.files.size(), "file") + ", " +
            counted(network.tensors.size(), "tensor") + ", " + std::to_string(network.parameters) + " parameters, " +
            gigabytes(network.bytes) + " of " + dtypes_text(network.dtypes) + "\n";
    if (!network.config.empty()) text += "  " + config_text(network.config) + "\n";
    if (!network.part.empty())
      text += "  part " + network.part + (network.rule.empty() ? "" : ", " + network.rule) + "\n";
    if (!with_tensors) continue;
    for (const auto& [name, tensor] : network.tensors) {
      text +=
          "  " + printable(name) + " " + shown_shape(tensor.shape) + " " + std::string(dtype_name(tensor.dtype)) + "\n";
    }
  }
  for (const InspectedFile& file : inspection.files)
    text += shown_text(file.name) + ": " + gigabytes(file.bytes) + "\n";
  for (const std::string& remark : inspection.remarks) text += remark + "\n";
  return text;
}

nlohmann::ordered_json to_json(const Inspection& inspection, bool with_tensors) {
  nlohmann::ordered_json networks = nlohmann::ordered_json::array();
  for (const InspectedNetwork& network : inspection.networks) {
    nlohmann::ordered_json entry = {{"name", network.name},
                                    {"kind", network.kind},
                                    {"part", network.part},
                                    {"rule", network.rule},
                                    {"files", network.files},
                                    {"tensor_count", network.tensors.size()},
                                    {"parameters", network.parameters},
                                    {"bytes", network.bytes},
                                    {"dtypes", network.dtypes},
                                    {"config", network.config}};
    if (!network.why.empty()) entry["why"] = network.why;
    if (with_tensors) {
      entry["tensors"] = nlohmann::ordered_json::object();
      for (const auto& [name, tensor] : network.tensors) {
        entry["tensors"][name] = {{"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}};
      }
    }
    networks.push_back(std::move(entry));
  }
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const InspectedFile& file : inspection.files) files.push_back({{"name", file.name}, {"bytes", file.bytes}});
  return {{"path", inspection.path},
          {"kind", inspection.kind},
          {"networks", networks},
          {"files", files},
          {"remarks", inspection.remarks}};
}

std::string to_text(const Verification& verification) {
  std::string text, lists;
  for (const std::string& list : verification.lists) lists += (lists.empty() ? "" : ", ") + shown_text(list);
  for (const VerifiedFile& file : verification.files) {
    text += std::string(word(file.state)) + ": " + shown_text(file.name);
    if (file.state == FileState::Differs)
      text += " is " + file.sha256 + ", " + shown_text(file.list) + " says " + file.wanted + "; download it again";
    text += "\n";
  }
  const auto count = [&](FileState state) { return std::to_string(verification.count(state)); };
  return text + verification.path + ": compared with " + lists + ": " + count(FileState::Same) + " ok, " +
         count(FileState::Differs) + " differ, " + count(FileState::Absent) + " absent, " +
         count(FileState::NotListed) + " not listed\n";
}

nlohmann::ordered_json to_json(const Verification& verification) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const VerifiedFile& file : verification.files) {
    nlohmann::ordered_json entry = {{"name", file.name}, {"state", word(file.state)}, {"bytes", file.bytes}};
    if (!file.sha256.empty()) entry["sha256"] = file.sha256;
    if (!file.wanted.empty()) entry["wanted"] = file.wanted;
    if (!file.list.empty()) entry["list"] = file.list;
    files.push_back(std::move(entry));
  }
  return {{"path", verification.path},
          {"lists", verification.lists},
          {"same", verification.count(FileState::Same)},
          {"differ", verification.count(FileState::Differs)},
          {"absent", verification.count(FileState::Absent)},
          {"not_listed", verification.count(FileState::NotListed)},
          {"files", files}};
}

}  // namespace wan
