#include "tools/cli/server_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "engine/base/text.h"
#include "engine/request/files.h"
#include "engine/request/hosted.h"
#include "tools/cli/flags.h"
#include "tools/cli/help.h"

namespace wan {
namespace {

constexpr const char* kServer = "Server";
// What batch takes beside a server.
constexpr const char* kBatchFlags[] = {"MANIFEST", "--server", "--key",       "--cacert",    "--priority",
                                       "--resend", "--work",   "--overwrite", "--log-format"};
// Flags of local runs that are no fields of a request.
constexpr const char* kRunFlags[] = {"--threads", "--contact-sheet", "--overwrite", "--fresh", "--dry-run"};

void add_connection(CLI::App& app, const std::string& server_help) {
  add_flag(app, "--server", "URL", server_help, kServer);
  add_flag(
      app, "--key", "KEY",
      "The key that the server knows you by. Default: WAN_SERVER_KEY, which other users of the machine cannot see.",
      kServer);
  add_flag(
      app, "--cacert", "FILE",
      "Certificates to trust, such as that of wan-serve --tls-self-signed. Default: SSL_CERT_FILE, or the system's.",
      kServer);
}

void add_connection(CLI::App& app) {
  add_connection(app, "The server, as http://host:8000. Default: WAN_SERVER.");
}

void add_priority(CLI::App& app) {
  add_flag(app, "--priority", "normal|low", "low waits for all that is normal. Default normal.", kServer);
}

CLI::App* add_id_command(CLI::App& app, const char* name, const char* about) {
  CLI::App* command = app.add_subcommand(name, about);
  command->add_option("ID")->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return command;
}

std::string text_of(const FlagTexts& flags, const std::string& flag, const char* variable = nullptr) {
  if (const auto found = flags.find(flag); found != flags.end()) return found->second;
  const char* value = variable ? std::getenv(variable) : nullptr;
  return value ? value : "";
}

void check_url(const std::string& url) {
  if (url.empty())
    throw InvalidRequest("--server", "is required; give it with --server http://HOST:PORT, or in WAN_SERVER");
  const auto is_plain = [](unsigned char letter) { return letter > 0x20 && letter < 0x7F; };
  const bool web = is_url(url) && !plain_url(url).starts_with("data:");
  if (!web || !std::all_of(url.begin(), url.end(), is_plain))
    throw InvalidRequest("--server", "must be the URL of a wan-serve, as http://HOST:PORT, got " + shown_path(url));
  const size_t host = url.find("://") + 3, end = std::min(url.find('/', host), url.size());
  if (url.find_first_of("?#") != std::string::npos)
    throw InvalidRequest("--server", "must be a URL without ? and #, got " + shown_url(url));
  if (url.find('@', host) < end)
    throw InvalidRequest("--server",
                         "must have no name and password before its host; --key or WAN_SERVER_KEY says who "
                         "you are");
}

/// Its text is never said.
void check_key(const std::string& key) {
  constexpr size_t kLongest = 1000;
  const auto is_plain = [](unsigned char letter) { return letter > 0x20 && letter < 0x7F; };
  if (key.size() > kLongest || !std::all_of(key.begin(), key.end(), is_plain))
    throw InvalidRequest("--key",
                         "must be at most 1000 visible letters of ASCII without blanks; wan-serve key add NAME "
                         "prints one");
}

}  // namespace

void add_submit_tasks(CLI::App& app) {
  constexpr const char* kAbout[] = {"Text to video", "Image to video", "Video to video",
                                    "Speech and a picture to video"};
  for (const Task task : kTasks) {
    CLI::App* command = app.add_subcommand(task_name(task), kAbout[int(task)]);
    for (const Parameter& parameter : parameters()) {
      if (!is_hosted(parameter, task)) continue;
      const bool boolean = std::holds_alternative<bool Request::*>(parameter.field);
      const std::string flag = parameter.flag();
      std::string names = flag;
      if (boolean) names += ",!--no-" + flag.substr(2);
      if (std::string(parameter.name).ends_with("_url")) names += "," + flag + "-url";
      add_flag(*command, names, boolean ? "" : value_name(parameter, task), describe_hosted(parameter, task),
               parameter.unserved ? "Where the server has it" : parameter.group);
    }
    add_connection(*command);
    add_priority(*command);
    add_log_format(*command);
  }
}

void add_server_commands(CLI::App& app) {
  CLI::App* status = add_id_command(app, "status", "Print how far a job of a server is");
  CLI::App* watch = add_id_command(app, "watch", "Show a job of a server until it ends, and bring its video");
  add_flag(*watch, "--out", "FILE", "The video; where it is absent TASK-SEED.mp4, or ID.mp4, or the next free name.",
           "Output");
  add_flag(*watch, "--overwrite", "", "Replace a file that is there.", "Output");
  CLI::App* cancel = add_id_command(app, "cancel", "End a job of a server");
  CLI::App* logs = add_id_command(app, "logs", "Print what a job of a server has logged");
  add_flag(*logs, "--follow", "", "Go on until the job ends.", kGeneral);
  for (CLI::App* command : {status, watch, cancel, logs}) {
    add_connection(*command);
    add_log_format(*command);
  }
}

void add_batch_server_flags(CLI::App& batch) {
  add_connection(batch, "Send every line to this wan-serve instead of rendering here, and bring the videos.");
  add_priority(batch);
  add_flag(batch, "--resend", "",
           "Send lines again that failed there, and lines of which it is not known whether they arrived.", kServer);
}

bool is_server_command(const std::string& command) {
  return command == "status" || command == "watch" || command == "cancel" || command == "logs";
}

bool is_local_flag(Task task, const std::string& flag) {
  if (std::find(std::begin(kRunFlags), std::end(kRunFlags), flag) != std::end(kRunFlags)) return true;
  for (const Parameter& parameter : parameters()) {
    const std::string own = parameter.flag();
    if (parameter.accepts(task) && !is_hosted(parameter, task) && (flag == own || flag == "--no-" + own.substr(2)))
      return true;
  }
  return false;
}

ServerWords server_words(const FlagTexts& flags) {
  ServerWords words{.url = plain_url(text_of(flags, "--server", "WAN_SERVER")),
                    .key = text_of(flags, "--key", "WAN_SERVER_KEY"),
                    .authorities = text_of(flags, "--cacert"),
                    .priority = text_of(flags, "--priority")};
  check_url(words.url);
  while (words.url.ends_with('/')) words.url.pop_back();
  check_key(words.key);
  if (!words.authorities.empty()) check_readable("--cacert", words.authorities);
  if (words.priority.empty()) words.priority = "normal";
  if (words.priority != "normal" && words.priority != "low")
    throw InvalidRequest("--priority", "must be normal or low, got " + shown(words.priority));
  return words;
}

void refuse_server_flags(const FlagTexts& flags) {
  std::vector<FieldError> errors;
  for (const char* flag : {"--key", "--cacert", "--priority", "--resend"})
    if (flags.contains(flag))
      errors.push_back({flag, "is for batches at a server; give --server URL, too", "value_error", "", ""});
  if (!errors.empty()) throw InvalidRequest(errors);
}

void refuse_local_flags(const FlagTexts& flags) {
  std::vector<FieldError> errors;
  for (const auto& [flag, text] : flags)
    if (std::find(std::begin(kBatchFlags), std::end(kBatchFlags), flag) == std::end(kBatchFlags))
      errors.push_back({flag, local_only_text(flag.substr(2)), "unknown", "", ""});
  if (!errors.empty()) throw InvalidRequest(errors);
}

void check_job_id(const std::string& id) {
  constexpr size_t kLongest = 64;
  const auto is_letter = [](unsigned char c) { return std::isalnum(c) || c == '-'; };
  if (id.empty() || (id.size() <= kLongest && std::all_of(id.begin(), id.end(), is_letter) && id[0] != '-')) return;
  throw InvalidRequest("ID", "must be an id that wan-infer submit printed, of letters, digits and -, got " + shown(id));
}

}  // namespace wan
