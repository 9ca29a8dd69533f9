#include "tools/cli/inspect_output.h"

#include <filesystem>
#include <iostream>
#include <map>
#include <type_traits>

#include "engine/base/text.h"
#include "engine/request/params.h"
#include "models/files/error.h"

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
  for (const auto& [key, value] : config.items())
    text += (text.empty() ? "" : ", ") + printable(key) + " " +
            printable(value.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
  return text;
}

/// "64", "32 (40), 64 (360)": how many have each where they differ.
template <class Key>
std::string counts_text(const std::map<Key, int64_t>& counts) {
  std::string text;
  for (const auto& [key, count] : counts) {
    std::string value;
    if constexpr (std::is_same_v<Key, std::string>)
      value = key;
    else
      value = number_text(double(key));
    text += (text.empty() ? "" : ", ") + value + (counts.size() > 1 ? " (" + std::to_string(count) + ")" : "");
  }
  return text;
}

/// How a LoRA that is distilled to so many steps (0: to few) is used.
std::string distilled_text(int steps) {
  if (steps == 0 || steps == 4) return "distilled to few steps: --preset lightning4 sets what it was made for";
  const std::string number = std::to_string(steps);
  return "distilled to " + number + " steps: --num-inference-steps " + number +
         " --guidance-scale 1 --guidance-scale-2 1 --solver euler is what it was made for";
}

/// Lines about a LoRA: what it changes, how, which expert it is for, and what is left out.
std::string lora_text(const InspectedLora& lora) {
  const lora::Description& file = lora.file;
  std::string text = "  for " + file.target + (file.applies ? "" : ", " + file.unused) + "\n";
  if (!file.dialect.empty()) {
    int64_t all = 0;
    for (const auto& [kind, count] : file.kinds) all += count;
    text +=
        "  " + file.dialect + " names, " + counted(size_t(all), "difference") + ": " + counts_text(file.kinds) + "\n";
  }
  if (!file.ranks.empty()) {
    text += "  rank " + counts_text(file.ranks);
    text += file.alphas.empty() ? ", no alpha" : ", alpha " + counts_text(file.alphas);
    if (!file.alphas.empty() && file.without_alpha > 0) text += ", none in " + std::to_string(file.without_alpha);
    text += ": scale " + counts_text(file.scales) + "\n";
  }
  if (!file.applies) return text;
  if (lora.expert.empty())
    text += "  its name " + lora.unclear + ": @high, @low or @both tells\n";
  else if (lora.expert == "both")
    text += "  for both experts: transformer. is the high-noise one's, transformer_2. the low-noise one's\n";
  else
    text += "  for the " + lora.expert + "-noise expert, by its " + (file.halves.low ? "keys" : "name") + "\n";
  if (lora.distilled) text += "  " + distilled_text(lora.steps) + "\n";
  for (const auto& [key, reason] : file.exempt) {
    text += "  " + counted(file.exempt.size(), "key") + " left out: " + reason + " (" + printable(key) +
            (file.exempt.size() > 1 ? " is one" : "") + ")\n";
    break;
  }
  if (!file.unknown.empty())
    text += "  " + counted(file.unknown.size(), "key") + " that it has no place for: " + printable(file.unknown[0]) +
            (file.unknown.size() > 1 ? ", ..." : "") + "; --lora-lax leaves them out\n";
  return text;
}

template <class Key>
nlohmann::ordered_json counts_json(const std::map<Key, int64_t>& counts, const char* name) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& [key, count] : counts) list.push_back({{name, key}, {"count", count}});
  return list;
}

nlohmann::ordered_json lora_json(const InspectedLora& lora) {
  const lora::Description& file = lora.file;
  return {{"target", file.target},
          {"applies", file.applies},
          {"unused", file.applies ? "" : file.unused},
          {"dialect", file.dialect},
          {"kinds", counts_json(file.kinds, "kind")},
          {"ranks", counts_json(file.ranks, "rank")},
          {"alphas", counts_json(file.alphas, "alpha")},
          {"without_alpha", file.without_alpha},
          {"scales", counts_json(file.scales, "scale")},
          {"expert", lora.expert},
          {"distilled", lora.distilled},
          {"distilled_steps", lora.steps},
          {"exempt", file.exempt},
          {"unknown", file.unknown}};
}

/// One line: what a set is for and what it names, or why it cannot be used.
std::string set_text(const InspectedSet& set) {
  std::string text = "set " + shown_text(set.name) + (set.task.empty() ? "" : ", " + set.task);
  if (!set.model.empty()) text += ", model " + set.model;
  for (const auto& [field, file] : set.parts) text += ", " + field + " " + file;
  return text + (set.wrong.empty() ? "" : ": cannot be used: " + set.wrong) + "\n";
}

nlohmann::ordered_json set_json(const InspectedSet& set) {
  nlohmann::ordered_json entry = {{"name", set.name}, {"task", set.task}, {"model", set.model}, {"parts", set.parts}};
  if (!set.wrong.empty()) entry["wrong"] = set.wrong;
  return entry;
}

nlohmann::ordered_json task_json(const InspectedTask& task) {
  nlohmann::ordered_json errors = nlohmann::ordered_json::array();
  for (const InspectedRefusal& refusal : task.refusals)
    errors.push_back({{"field", refusal.field}, {"text", refusal.text}});
  return {{"task", task.name}, {"whole", task.refusals.empty()}, {"errors", errors}};
}

/// A line for each thing that a render would be refused for, and the tasks for which it would be.
std::string refusals_text(const std::vector<InspectedTask>& tasks) {
  std::vector<std::string> refusals;
  std::map<std::string, std::vector<std::string>> tasks_of;
  for (const InspectedTask& task : tasks)
    for (const InspectedRefusal& refusal : task.refusals) {
      if (refusal.told) continue;
      const std::string line = "[" + refusal.field + "] " + refusal.text + "\n";
      std::vector<std::string>& names = tasks_of[line];
      if (names.empty()) refusals.push_back(line);
      names.push_back(task.name);
      if (task.name == "t2v") names.push_back("v2v");
    }
  std::string text;
  for (const std::string& line : refusals) text += either(tasks_of[line], " and ") + " would be refused: " + line;
  return text;
}

/// What was inspected; "." is told by the current folder's name.
std::string name_of(const Inspection& inspection) {
  std::error_code ignored;
  const bool here = inspection.path == "." || inspection.path == "./";
  return shown_text(here ? std::filesystem::current_path(ignored).filename().string() : inspection.path);
}

const char* word(Verdict state) {
  constexpr const char* kWords[] = {"ok", "differs", "absent", "not listed", "unreadable", "unclear"};
  return kWords[size_t(state)];  // in the order of Verdict
}

}  // namespace

std::string to_text(const Inspection& inspection, bool with_tensors) {
  const std::string path = name_of(inspection);
  std::string text = path + ": " + inspection.kind + "\n";
  for (const InspectedNetwork& network : inspection.networks) {
    const std::string name = network.name == "." ? path : shown_text(network.name);
    if (network.why) {
      text += name + ": " + network.kind + ", " + network.why->what() + "\n";
      continue;
    }
    if (network.tensors.empty()) {
      text += name + ": " + network.kind + ", holds no tensors; download it again\n";
      continue;
    }
    text += name + ": " + network.kind + ", " + counted(network.files.size(), "file") + ", " +
            counted(network.tensors.size(), "tensor") + ", " + std::to_string(network.parameters) + " parameters, " +
            gigabytes(network.bytes) + " of " + dtypes_text(network.dtypes) + "\n";
    if (!network.config.empty()) text += "  " + config_text(network.config) + "\n";
    if (!network.tokenizer.empty()) text += "  holds a tokenizer: " + network.tokenizer + "\n";
    if (!network.part.empty())
      text += "  part " + network.part + (network.rule.empty() ? "" : ", " + network.rule) + "\n";
    if (!network.use.empty()) text += "  " + network.use + "\n";
    if (network.lora) text += lora_text(*network.lora);
    for (const std::string& note : network.notes) text += "  " + note + "\n";
    if (!with_tensors) continue;
    for (const auto& [name, tensor] : network.tensors)
      text += "  " + printable(name) + " " + shown_shape(tensor.shape) + " " + std::string(type_name(tensor)) + "\n";
  }
  for (const InspectedFile& file : inspection.files)
    text += shown_text(file.name) + ": " + gigabytes(file.bytes) + (file.rule.empty() ? "" : ", " + file.rule) + "\n";
  for (const InspectedSet& set : inspection.sets) text += set_text(set);
  text += refusals_text(inspection.tasks);
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
    if (!network.tokenizer.empty()) entry["tokenizer"] = network.tokenizer;
    if (network.why) entry["why"] = network.why->what();
    if (!network.left_out.empty()) entry["left_out"] = network.left_out;
    if (!network.use.empty()) entry["use"] = network.use;
    if (network.lora) entry["lora"] = lora_json(*network.lora);
    if (!network.notes.empty()) entry["notes"] = network.notes;
    if (with_tensors) {
      entry["tensors"] = nlohmann::ordered_json::object();
      for (const auto& [name, tensor] : network.tensors)
        entry["tensors"][name] = {
            {"dtype", type_name(tensor)}, {"shape", tensor.shape}, {"bytes", stored_bytes(tensor)}};
    }
    networks.push_back(std::move(entry));
  }
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const InspectedFile& file : inspection.files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"rule", file.rule}});
  nlohmann::ordered_json sets = nlohmann::ordered_json::array();
  for (const InspectedSet& set : inspection.sets) sets.push_back(set_json(set));
  nlohmann::ordered_json tasks = nlohmann::ordered_json::array();
  for (const InspectedTask& task : inspection.tasks) tasks.push_back(task_json(task));
  return {{"path", inspection.path},
          {"kind", inspection.kind},
          {"networks", networks},
          {"files", files},
          {"sets", sets},
          {"tasks", tasks},
          {"remarks", inspection.remarks}};
}

int run_inspect(const Command& command) {
  const Inspection found = inspect(command.input, command.fields.value("models", ""));
  if (command.log_format == "json")
    std::cout << to_json(found, true).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    std::cout << to_text(found, false);
  return 0;
}

std::string to_text(const Verification& verification) {
  std::string text, lists;
  for (const std::string& list : verification.lists) lists += (lists.empty() ? "" : ", ") + shown_text(list);
  for (const VerifiedFile& file : verification.files) {
    text += std::string(word(file.state)) + ": " + shown_text(file.name);
    if (file.state == Verdict::Differs)
      text += " is " + file.sha256 + ", " + shown_text(file.list) + " says " + file.wanted + "; download it again";
    if (!file.why.empty()) text += ": " + file.why;
    if (file.state == Verdict::Unreadable && !file.link)
      text += "; give yourself the right to read it (chmod u+rX), or check the disk";
    text += "\n";
  }
  const auto count = [&](Verdict state) { return std::to_string(verification.count(state)); };
  return text + verification.path + ": compared with " + lists + ": " + count(Verdict::Same) + " ok, " +
         count(Verdict::Differs) + " differ, " + count(Verdict::Absent) + " absent, " + count(Verdict::Unreadable) +
         " unreadable, " + count(Verdict::NotListed) + " not listed" +
         (verification.count(Verdict::Unclear) > 0 ? ", " + count(Verdict::Unclear) + " unclear" : "") + "\n";
}

nlohmann::ordered_json to_json(const Verification& verification) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const VerifiedFile& file : verification.files) {
    nlohmann::ordered_json entry = {{"name", file.name}, {"state", word(file.state)}, {"bytes", file.bytes}};
    if (!file.sha256.empty()) entry["sha256"] = file.sha256;
    if (!file.wanted.empty()) entry["wanted"] = file.wanted;
    if (!file.list.empty()) entry["list"] = file.list;
    if (!file.why.empty()) entry["why"] = file.why;
    files.push_back(std::move(entry));
  }
  return {{"path", verification.path},
          {"lists", verification.lists},
          {"same", verification.count(Verdict::Same)},
          {"differ", verification.count(Verdict::Differs)},
          {"absent", verification.count(Verdict::Absent)},
          {"unreadable", verification.count(Verdict::Unreadable)},
          {"not_listed", verification.count(Verdict::NotListed)},
          {"unclear", verification.count(Verdict::Unclear)},
          {"files", files}};
}

}  // namespace wan
