#include "tools/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <thread>

#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/hosted.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/values.h"
#include "engine/request/version.h"
#include "tools/cli/flags.h"
#include "tools/cli/server_flags.h"

namespace wan {
namespace {

/// From CLI11's answer to a Command. Errors are collected: one run tells all.
class Reader {
 public:
  /// `before`: check, plan, calibrate, submit, or nothing.
  Reader(CLI::App& app, const std::string& before) : app_(app) {
    command_.submit = before == "submit";
    command_.calibrate = before == "calibrate";
    command_.name = app.get_name();
    command_.fields = nlohmann::json::object();
  }

  Command read() {
    refuse_unknown();
    read_options();
    read_own();
    collect([&] { read_server(); });
    if (command_.is_render())
      read_request();
    else
      check_fields();
    if (texts_.count("--contact-sheet"))
      collect([&] { check_beside("contact_sheet", command_.contact_sheet, {".png"}); });
    if (texts_.count("--capture-qk"))
      collect([&] { check_beside("capture_qk", command_.captured_heads, {".safetensors"}); });
    if (texts_.count("--preview")) collect([&] { check_preview(); });
    if (command_.name == "compare") check_compared();
    if (!errors_.empty()) throw InvalidRequest(errors_);
    return command_;
  }

 private:
  void fail(const std::string& field, const std::string& wrong, const char* type, const std::string& input = "") {
    errors_.push_back({field, wrong, type, "", input});
  }

  void refuse_unknown() {
    std::vector<std::string> known;
    for (const CLI::Option* option : app_.get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    bool after_flag = false;
    for (const std::string& word : app_.remaining()) {
      const bool flag = word.size() > 1 && word[0] == '-';
      const std::string name = word.substr(0, word.find('='));
      if (flag && command_.submit && is_local_flag(*task_named(command_.name), name))
        fail(name, local_only_text(name.substr(2)), "unknown");
      else if (flag)
        fail(unquoted(name), "is not a flag of " + typed_command() + way_out(name, known), "unknown", word);
      else if (!after_flag)  // what follows an unknown flag is its value
        fail("argument", "is not wanted here: " + shown_path(word) + "; a value follows its flag", "unknown", word);
      after_flag = flag && name == word;
    }
  }

  std::string typed_command() const {
    return std::string(command_.submit ? "submit " : command_.calibrate ? "calibrate " : "") + command_.name;
  }

  /// Which tasks take the flag, where others do; else its nearest neighbour here, or where all are listed.
  std::string way_out(const std::string& flag, const std::vector<std::string>& known) const {
    if (command_.calibrate && (flag == "--acceleration" || flag == "--guidance-interval"))
      return "; a calibration computes all steps, and guides in all of them";
    std::vector<std::string> takers;
    for (const Parameter& parameter : parameters()) {
      if (parameter.flag() != flag) continue;
      if (command_.name == "batch")
        return "; a line of the manifest has it, as \"" + std::string(parameter.name) + "\"";
      if (!command_.is_render() || command_.calibrate) continue;
      for (const auto& [task, accepts] : parameter.tasks) takers.push_back(task_name(task));
    }
    if (!takers.empty()) return "; it belongs to " + either(takers, " and ");
    const std::string near = nearest_text(flag, known);
    return near.empty() ? "; wan-infer " + typed_command() + " --help lists them" : near;
  }

  static std::string unquoted(const std::string& name) {
    std::string text = name.find("://") == std::string::npos ? shown(name) : shown_url(name);
    return text.substr(1, text.size() - 2);
  }

  void read_options() {
    for (const CLI::Option* option : app_.get_options()) {
      if (option->count() == 0) continue;
      const std::string flag = option->get_positional() ? option->get_name(true) : "--" + option->get_lnames().front();
      if (flag == "--merge-lora" || flag == "--lpips") {
        (flag == "--lpips" ? command_.lpips : command_.merge_loras) = option->results();
        texts_[flag] = option->results().front();
        continue;
      }
      const bool repeated = is_repeated(flag);
      if (repeated) lists_[flag] = option->results();
      if (option->count() > 1 && !repeated)
        fail(flag, "was given " + std::to_string(option->count()) + " times; give it once", "duplicate");
      texts_[flag] = option->results().front();
    }
    for (const Parameter& parameter : parameters())
      if (auto found = texts_.find(parameter.flag()); found != texts_.end())
        command_.fields[parameter.name] =
            parameter.repeated ? nlohmann::json(lists_.at(parameter.flag())) : nlohmann::json(found->second);
  }

  static bool is_repeated(const std::string& flag) {
    const auto& table = parameters();
    return std::any_of(table.begin(), table.end(),
                       [&](const Parameter& parameter) { return parameter.repeated && parameter.flag() == flag; });
  }

  std::string text(const std::string& flag, const std::string& fallback = "") const {
    auto found = texts_.find(flag);
    return found == texts_.end() ? fallback : found->second;
  }

  std::string choice(const std::string& flag, const std::vector<std::string>& words) {
    std::string word = text(flag, words.front());
    if (std::find(words.begin(), words.end(), word) == words.end())
      fail(flag.substr(2), "must be " + either(words) + ", got " + shown(word), "literal_error", word);
    return word;
  }

  bool is_set(const std::string& flag) const { return text(flag, "false") == "true"; }

  template <class Function>
  void collect(Function function) {
    try {
      function();
    } catch (const InvalidRequest& invalid) {
      errors_.insert(errors_.end(), invalid.errors.begin(), invalid.errors.end());
    }
  }

  /// The flags that are no part of a request.
  void read_own() {
    command_.log_format = choice("--log-format", {"text", "json"});
    command_.order = choice("--order", {"phases", "given"});
    if (texts_.count("--shard")) collect([&] { command_.shard = read_shard(text("--shard")); });
    command_.report = is_set("--report");
    command_.fail_fast = is_set("--fail-fast");
    command_.fresh = is_set("--fresh");
    command_.overwrite = is_set("--overwrite");
    command_.anyway = is_set("--anyway");
    command_.dry_run = is_set("--dry-run");
    command_.json = is_set("--json");
    if (command_.json && command_.name == "inspect") command_.log_format = "json";
    command_.verify = texts_.count("--verify") > 0;
    if (command_.verify && !is_set("--verify")) command_.checksums = text("--verify");
    if (!command_.checksums.empty()) collect([&] { check_readable("verify", command_.checksums); });
    command_.machine = {text("--gpu"), text("--host"), text("--link"), text("--disk")};
    collect([&] { check_words(command_.machine); });
    command_.to = text("--to");
    command_.lora_lax = command_.name == "convert" && is_set("--lora-lax");
    if (command_.name == "convert" && command_.to.empty() && command_.merge_loras.empty())
      fail("--to", "is required: bf16, fp8, int8 or gguf:Q8_0", "missing");
    command_.contact_sheet = text("--contact-sheet");
    command_.captured_heads = text("--capture-qk");
    command_.preview = text("--preview");
    command_.plot = text("--plot");
    if (texts_.count("--threads")) {
      const std::string digits = text("--threads");
      const bool number =
          !digits.empty() && digits.size() <= 4 && digits.find_first_not_of("0123456789") == std::string::npos;
      command_.threads = number ? std::stoll(digits) : 0;
      const int64_t most = std::max<int64_t>(64, 4 * int64_t(std::thread::hardware_concurrency()));
      if (command_.threads < 1 || command_.threads > most)
        fail("threads", "must be from 1 to " + std::to_string(most) + " on this machine, got " + shown(digits),
             "range");
    }
    for (const CLI::Option* option : app_.get_options()) {
      if (!option->get_positional()) continue;
      const std::string name = option->get_name(true);
      std::string& path = name == "OUT" ? command_.output : name == "B" ? command_.other : command_.input;
      path = text(name);
      if (path.empty()) fail(name, "is required; " + usage(), "missing");
    }
    command_.work = text("--work", command_.input + ".work");
  }

  /// "wan-infer convert IN OUT --to bf16|fp8|int8|gguf:Q8_0".
  std::string usage() const {
    std::string words = "wan-infer " + command_.name;
    for (const CLI::Option* option : app_.get_options())
      if (option->get_positional()) words += " " + option->get_name(true);
    const CLI::Option* const to = app_.get_option_no_throw("--to");
    return to ? words + " --to " + to->get_type_name() : words;
  }

  /// Which server a command is for; of batch, and of commands that know nothing but servers.
  void read_server() {
    const bool batch = command_.name == "batch";
    if (!command_.submit && !batch && !is_server_command(command_.name)) return;
    if (batch && !texts_.count("--server")) return refuse_server_flags(texts_);
    if (batch) refuse_local_flags(texts_);
    command_.follow = is_set("--follow");
    command_.resend = is_set("--resend");
    command_.server = server_words(texts_);
    if (!command_.submit && !batch) check_job_id(command_.input);
  }

  /// What is written is no video, and the prompts may be others than the request's.
  void read_calibrate() {
    command_.prompts = text("--prompts");
    if (!command_.prompts.empty()) collect([&] { check_readable("prompts", command_.prompts); });
    if (command_.fields.contains("prompt") && !command_.prompts.empty())
      fail("prompt", "must be left out beside --prompts, which has its own", "value_error");
    if (command_.name == "t2v" || !command_.prompts.empty()) command_.fields.emplace("prompt", "");
    if (!command_.fields.contains("out")) return fail("out", "is required; give it with --out FILE.json", "missing");
    command_.output = command_.fields["out"];
    collect([&] { check_ending("out", command_.output, {".json"}); });
    command_.fields["out"] = command_.output + ".mp4";  // where a video would lie: its folder is looked at
  }

  void read_request() {
    if (command_.calibrate) read_calibrate();
    const ParseOptions options = {
        .source = Source::Flags, .need_model = !command_.dry_run, .check_files = true, .by_server = command_.submit};
    collect([&] { command_.request = parse(*task_named(command_.name), command_.fields, options); });
  }

  /// The flags of batch and replay are checked by themselves, in a request that has nothing else.
  void check_fields() {
    nlohmann::json fields = command_.fields;
    fields["prompt"] = "";
    // What the stored request has, or finish itself asks for.
    if (!fields.contains("interpolator_model")) fields["interpolator_model"] = "none";
    if (fields.contains("calibration")) fields["acceleration"] = "regular";
    fields.emplace("enable_safety_checker", "true");
    const bool writes = fields.contains("out");
    for (const auto& [name, value] : command_.fields.items()) {
      const Parameter& parameter = *find_parameter(name);
      if (parameter.accepts(Task::T2V)) continue;
      fields.erase(name);  // of a task that only the video tells
      if (!parameter.media) continue;
      collect([&] {
        const std::string input = read_text(parameter, value);
        if (!is_url(input)) check_readable(name, input);
      });
    }
    collect([&] { parse(Task::T2V, fields, {.source = Source::Flags, .need_model = false, .check_files = writes}); });
  }

  /// A file beside the video takes no name that something else has, or it would replace it.
  void check_beside(const std::string& field, const std::string& file, const std::vector<std::string>& endings) {
    check_ending(field, file, endings);
    check_writable(field, file);
    if (!command_.is_render()) return check_other_file(field, file, command_.name, command_.input);
    for (const Parameter& parameter : parameters()) {
      if (!parameter.path || parameter.named || !parameter.accepts(command_.request.task)) continue;
      const std::string& path = command_.request.*std::get<std::string Request::*>(parameter.field);
      if (!path.empty() && !is_url(path)) check_other_file(field, file, parameter.flag(), path);
    }
  }

  void check_preview() {
    check_beside("preview", command_.preview, {".png", ".jpg", ".jpeg"});
    if (!command_.contact_sheet.empty())
      check_other_file("preview", command_.preview, "--contact-sheet", command_.contact_sheet);
  }

  /// Videos and weights are there; the plot takes the name of none of them.
  void check_compared() {
    const auto readable = [&](const char* field, const std::string& path) {
      if (!path.empty()) collect([&] { check_readable(field, path); });
    };
    readable("A", command_.input);
    readable("B", command_.other);
    if (texts_.count("--lpips"))
      for (const std::string& file : command_.lpips) collect([&] { check_readable("lpips", file); });
    if (!texts_.count("--plot")) return;
    collect([&] {
      check_ending("plot", command_.plot, {".svg"});
      check_writable("plot", command_.plot);
      for (const std::string& path : {command_.input, command_.other})
        check_other_file("plot", command_.plot, path == command_.input ? "A" : "B", path);
      for (const std::string& file : command_.lpips) check_other_file("plot", command_.plot, "--lpips", file);
    });
  }

  CLI::App& app_;
  Command command_;
  std::map<std::string, std::string> texts_;
  std::map<std::string, std::vector<std::string>> lists_;  // of flags that may come several times
  std::vector<FieldError> errors_;
};

/// The words after the program's name, `--name=value` as two: CLI11 takes an empty value after the sign for none and
/// eats the next word. Throws InvalidRequest where the last flag lacks its value.
std::vector<std::string> split_values(int argc, const char* const* argv, CLI::App& app) {
  const std::string name = argc > 1 ? argv[1] : "";
  const auto commands = app.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i], flag = word.substr(0, word.find('='));
    const CLI::Option* option =
        commands.empty() || !flag.starts_with("--") ? nullptr : commands[0]->get_option_no_throw(flag);
    if (flag == "--verify" && word == flag && i > 2 && i + 1 < argc && argv[i + 1][0] != '-') {
      words.push_back(word + "=" + argv[++i]);  // its value may be left out: one that stands behind DIR is a list
      continue;
    }
    const bool takes_value = option && option->get_items_expected_max() > 0;
    words.push_back(takes_value ? flag : word);
    if (!takes_value) continue;
    if (flag != word)
      words.push_back(word.substr(flag.size() + 1));
    else if (++i < argc)
      words.push_back(argv[i]);
    else
      throw InvalidRequest(flag, "needs a value: " + flag + " " + option->get_type_name());
  }
  return words;
}

/// What --help begins with.
std::string about(const std::string& before) {
  if (before == "check")
    return "Look whether a render or a batch can run, and stop; makes no file. Exit 0: it can, 2: a request, an "
           "input or an output is wrong, 3: a model is, 5: a prompt has a blocked word.";
  if (before == "plan")
    return "Print where the weights of a render lie in each phase and what it takes, on this machine or on a described "
           "one, and stop; reads the headers of the model's files. Exit 0: it fits, 2: it does not, or a request is "
           "wrong, 3: a model is.";
  if (before == "calibrate")
    return "Measure how much the steps of a render change what the transformer computes, and write it to a file that "
           "--acceleration regular --calibration FILE takes. Renders each prompt as far as its last step.";
  if (before == "submit")
    return "Send a request to a running wan-serve and print its id. Files that are named as inputs are uploaded first.";
  return "Video from text, pictures, video and speech, with Wan 2.2 A14B on one's own GPU.";
}

void check_command_name(int argc, const char* const* argv, CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  const std::string word = argc > 1 ? argv[1] : "";
  if (word == "-h" || word == "--help" || word == "--version") return;
  if (word.empty()) throw InvalidRequest("command", "is required: " + either(names) + "; wan-infer --help tells more");
  if (std::find(names.begin(), names.end(), word) != names.end()) return;
  throw InvalidRequest("command", "must be " + either(names) + ", got " + shown(word) + nearest_text(word, names));
}

}  // namespace

Command parse_command_line(int argc, const char* const* argv) {
  const std::string before = is_prefix(argc > 1 ? argv[1] : "") ? argv[1] : "";
  if (!before.empty()) --argc, ++argv;
  CLI::App app(about(before), before.empty() ? "wan-infer" : "wan-infer " + before);
  if (before != "submit") add_commands(app);
  if (before == "check")
    add_check(app);
  else if (before == "plan")
    add_plan(app);
  else if (before == "calibrate")
    add_calibrate(app);
  else if (before == "submit")
    add_submit(app);
  else
    add_prefixes(app);
  check_command_name(argc, argv, app);
  Command command;
  try {
    std::vector<std::string> words = split_values(argc, argv, app);
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 takes them from the end
  } catch (const CLI::CallForHelp&) {
    command.answer = app.help();
    return command;
  } catch (const CLI::ParseError&) {
    throw InvalidRequest("command line", "must be a command and its flags with their values; --help lists them");
  }
  if (app.count("--version") > 0) {
    command.answer = std::string("wan-infer ") + version() + "\n";
    return command;
  }
  command = Reader(*app.get_subcommands().front(), before).read();
  command.check = before == "check";
  command.plan = before == "plan";
  if (command.check && command.is_at_server())
    throw InvalidRequest("--server",
                         "is not taken by check, which looks at this machine; the server checks what it is sent");
  return command;
}

}  // namespace wan
