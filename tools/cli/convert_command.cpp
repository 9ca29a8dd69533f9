#include "tools/cli/convert_command.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/listing.h"
#include "engine/base/note.h"
#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/residency/folder_scan.h"
#include "engine/residency/identity.h"
#include "engine/residency/part_kinds.h"
#include "models/files/error.h"
#include "models/recognise.h"
#include "models/weights/convert/convert.h"
#include "models/weights/format/layout.h"
#include "tools/cli/merge_loras.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// IN with a name that messages can show: "." is the current folder's.
fs::path named_input(const std::string& words) {
  const fs::path name = fs::path(words).filename();
  return name == "." || name == ".." ? fs::absolute(words).lexically_normal() : fs::path(words);
}

/// The networks of a whole model's folder that can be converted: "IN/Wan2.1_VAE.pth".
std::vector<std::string> parts_inside(const fs::path& input) {
  std::error_code ignored;
  const bool diffusers = fs::exists(input / "model_index.json", ignored);  // a folder "vae" alone is also ComfyUI's
  std::vector<std::string> inside;
  for (const UsualPlace& place : diffusers ? diffusers_places() : official_places()) {
    const std::string name = std::string("IN/") + place.path;
    const bool known = std::find(inside.begin(), inside.end(), name) != inside.end();  // an expert's or of speech
    if (!known && place.network != Network::AudioEncoder && name != "IN/." && fs::exists(input / place.path, ignored))
      inside.push_back(name);
  }
  return inside;
}

/// Throws ModelError for the folder of a whole model, or of several files.
void check_input(const fs::path& input) {
  std::error_code ignored;
  // The folder of speech is that of its transformer, and holds the other networks as well.
  if (!fs::is_directory(input, ignored) || holds_checkpoint(input)) return;
  if (const std::vector<std::string> inside = parts_inside(input); !inside.empty())
    throw ModelError(input.string(),
                     "must be one network, is the folder of a whole model; name a part of it: " + either(inside));
  std::vector<std::string> files;
  for (const ModelPart& part : scan_folder(input).checkpoints) files.push_back("IN/" + shown_text(part.name, 120));
  if (files.size() > 1)
    throw ModelError(input.string(),
                     "must be one network, is a folder of several; name one of them: " + listed(std::move(files)));
}

void check_output(const Command& command, convert::Target target) {
  const std::string& out = command.output;
  check_ending("OUT", out, {target == convert::Target::Q8_0 ? ".gguf" : ".safetensors"});
  check_writable("OUT", out);
  check_other_file("OUT", out, "IN", command.input);
  std::error_code ignored;
  for (const fs::path& file : Checkpoint::paths(command.input))
    if (fs::equivalent(file, out, ignored))
      throw InvalidRequest("OUT", "must be another file than those of IN; take another name");
  if (fs::exists(out) && !command.overwrite)
    throw InvalidRequest("OUT", "must not be there already: " + shown_path(out) + "; --overwrite replaces it");
}

/// The files of the input as they are at construction, before they are opened.
class InputFiles {
 public:
  /// Throws ModelError for a broken index. A file that is absent is left to those who open it.
  explicit InputFiles(const fs::path& input) {
    for (const fs::path& file : Checkpoint::paths(input)) files_.emplace_back(file, stamp_at(file));
  }
  void add(const fs::path& file) { files_.emplace_back(file, stamp_at(file)); }

  /// Tells their content from any other: names do not count. Throws ModelError.
  std::string key() const {
    std::vector<PartFile> files;
    for (const auto& [file, stamp] : files_) files.push_back({file, file.filename(), "", ""});
    IdentityCache cache;
    std::string key;
    for (const FileIdentity& found : identify(files, cache))
      key += found.digest + " " + std::to_string(found.size) + "\n";
    return key;
  }

  /// Throws SourceRefused where one was written to or replaced since.
  void check() const {
    for (const auto& [file, was] : files_) {
      const FileStamp is = stamp_at(file);
      if (is.inode != was.inode || is.size != was.size || is.modified != was.modified)
        throw convert::SourceRefused(
            file.string(),
            "must stay as it is while it is converted, was changed meanwhile: nothing was kept; run the "
            "same command again once it is whole");
    }
  }

 private:
  static FileStamp stamp_at(const fs::path& file) {
    struct stat state;
    return stat(file.c_str(), &state) == 0 ? stamp_of(state) : FileStamp();
  }

  std::vector<std::pair<fs::path, FileStamp>> files_;
};

std::string percent(double fraction) {
  std::ostringstream text;
  text << std::setprecision(2) << 100 * fraction << " %";
  return text.str();
}

std::string to_text(const convert::Result& result, const Command& command) {
  std::string text;
  for (const convert::GroupError& group : result.groups)
    text += group.group + ": " + std::to_string(group.tensors) + " weights, " + percent(group.relative) +
            " from the source (L2)\n";
  return text + shown_path(command.output) + ": " + std::to_string(result.tensors) + " tensors, " +
         gigabytes(result.bytes) + "\n";
}

nlohmann::ordered_json to_json(const convert::Result& result, const Command& command) {
  nlohmann::ordered_json groups = nlohmann::ordered_json::array();
  for (const convert::GroupError& group : result.groups)
    groups.push_back({{"group", group.group}, {"matrices", group.tensors}, {"relative_l2", group.relative}});
  return {{"out", command.output}, {"tensors", result.tensors}, {"bytes", result.bytes}, {"groups", groups}};
}

/// What the user should know of the input and of the file that is made of it.
void tell(const Checkpoint& named, Model model, convert::Target target, Notes& notes) {
  if (const auto coded = convert::coded_already(named, model, target); !coded.empty()) {
    std::string text = "holds";
    for (const auto& [coding, count] : coded)
      text += (text == "holds" ? " " : ", ") + std::to_string(count) + " matrices in " + coding;
    notes.add({"IN",
               text + ": they are coded anew from the values of their codes, and the errors below are against these",
               "a file in 16 bits gives the smaller error"});
  }
  if (model == Model::TextEncoder)
    notes.add(
        {"OUT",
         "has the official names, which this program and others for the official release read: ComfyUI's own nodes "
         "want the names of Hugging Face's UMT5 and the tokenizer in the file, which convert does not write"});
}

/// Without --to only floats keep their form.
void check_floats(const Checkpoint& named, Model model) {
  const auto coded = convert::coded_already(named, model, convert::Target::Bf16);
  if (!coded.empty())
    throw InvalidRequest("to", "is required, since IN holds matrices in " + coded.begin()->first + ": " +
                                   std::string(convert::target_words()) +
                                   " is what they become once the LoRA is in them");
}

}  // namespace

void run_convert(const Command& command, Console& console) {
  const bool keeps_form = command.to.empty();  // only with LoRAs
  const std::optional<convert::Target> target = keeps_form ? convert::Target::Bf16 : convert::target_of(command.to);
  if (!target)
    throw InvalidRequest("to", "must be " + std::string(convert::target_words()) + ", got " + shown(command.to));
  const fs::path in = named_input(command.input);
  check_input(in);
  check_output(command, *target);
  const std::vector<Lora> loras = read_merges(command.merge_loras);
  InputFiles files(in);
  for (const Lora& lora : loras) {
    check_other_file("OUT", command.output, "--merge-lora", lora.path);
    files.add(lora.path);
  }
  const Checkpoint source = Checkpoint::open(in);
  const Recognised found = recognise(source.tensors());
  if (found.other == Other::Lora)
    throw ModelError(source.label(),
                     "must be one network that this program runs, is a LoRA, which changes a network and "
                     "is none; convert NETWORK OUT --merge-lora FILE folds it into one");
  if (!found.model)
    throw ModelError(source.label(), "must be one network that this program runs, is " + found.name +
                                         "; of a model's folder name the part, as IN/high_noise_model");
  const bool is_transformer =
      *found.model == Model::TextExpert || *found.model == Model::ImageExpert || *found.model == Model::Speech;
  if (!loras.empty() && !is_transformer)
    throw InvalidRequest("merge_lora", "must be left out: a LoRA changes a transformer, and IN is " + found.name);
  const Checkpoint named = source.renamed(official_names(source.tensors(), *found.model, source.label()));
  Notes notes(console.log());
  if (keeps_form) check_floats(named, *found.model);
  tell(named, *found.model, *target, notes);
  const MergedLoras merged(loras, named, in, command.lora_lax, notes);
  merged.tell(console.log());
  convert::Options options{.merges = merged.merges(), .check = [&] { files.check(); }};
  if (keeps_form) options.changes = [](const std::string&) { return false; };
  if (!loras.empty()) options.metadata["merged_loras"] = merged.record();
  const convert::Told told = {.step =
                                  [&](int64_t finished, int64_t all) {
                                    console.at({Stage::Write, finished, all, "", ""});
                                  },
                              .resumed =
                                  [&](int64_t finished, int64_t all) {
                                    console.say("went on at tensor " + std::to_string(finished + 1) + " of " +
                                                std::to_string(all) + ": an earlier run wrote those before");
                                  }};
  try {
    const std::string key = files.key() + (loras.empty() ? "" : merged.record());
    const convert::Result result = convert::convert(named, *found.model, *target, command.output, key, told, options);
    std::cout << (command.log_format == "json" ? to_json(result, command).dump() + "\n" : to_text(result, command));
  } catch (const convert::FormError& wrong) {
    throw InvalidRequest("to", wrong.what() + (", got " + shown(command.to)));
  } catch (const Cancelled&) {
    throw Cancelled(shown_path(command.output + ".part") + " keeps what was done: the same command goes on");
  }
}

}  // namespace wan
