// The server's program: HTTP, queue and files. It has no tensors, and starts wan-engine for what needs them.
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <new>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/serve/reporter.h"
#include "engine/serve/serve.h"
#include "tools/serve/check_models.h"
#include "tools/serve/serve_flags.h"

namespace wan {
namespace {

/// Each connection takes a file; the usual soft limit is 1024.
void raise_file_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string quota_text(const serve::Quota& quota) {
  std::string text;
  if (quota.queued_jobs > 0) text += "  at most " + std::to_string(quota.queued_jobs) + " jobs";
  if (quota.upload_bytes > 0) text += "  " + gigabytes(quota.upload_bytes) + " of uploads";
  if (quota.video_seconds > 0) text += "  " + decimals(quota.video_seconds) + " s of video a day";
  return text;
}

void list_keys(const std::filesystem::path& file) {
  for (const serve::Key& key : serve::list_keys(file))
    std::cout << key.name << (key.admin ? "  admin" : "") << quota_text(key.quota) << "\n";
}

void add_key(const ServeCommand& command) {
  const std::string key = serve::add_key(command.keys, command.name, command.admin, command.quota);
  std::cout << key << "\n" << std::flush;
  std::cerr << "wan-serve: this is the key of " << command.name
            << "; it is stored nowhere. A running server takes it after SIGHUP: kill -HUP PID\n";
}

int serve(const ServeCommand& command) {
  std::signal(SIGPIPE, SIG_IGN);
  raise_file_limit();
  const serve::Reporter report(command.settings.log_json);
  const std::filesystem::path programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  check_models(command.settings, programs / "wan-inspect");
  serve::RunOptions options;
  options.worker = programs / "wan-engine";
  options.self_signed = command.self_signed;
  options.report = report;
  options.listens = [&](const std::string& line) {
    if (command.settings.log_json)
      report(line);
    else
      std::cerr << "wan-serve " << line << "\n" << std::flush;
  };
  return serve::run(command.settings, options);
}

int carry_out(const ServeCommand& command) {
  switch (command.kind) {
    case ServeCommand::Kind::Answer:
      std::cout << command.answer;
      break;
    case ServeCommand::Kind::Serve:
      return serve(command);
    case ServeCommand::Kind::AddKey:
      add_key(command);
      break;
    case ServeCommand::Kind::ListKeys:
      list_keys(command.keys);
      break;
    case ServeCommand::Kind::RemoveKey:
      serve::remove_key(command.keys, command.name);
      break;
  }
  return std::cout.flush() ? 0 : 1;
}

}  // namespace
}  // namespace wan

int main(int argc, char** argv) {
  try {
    return wan::carry_out(wan::parse_serve_command(argc, argv));
  } catch (const wan::InvalidRequest& invalid) {
    for (wan::FieldError error : invalid.errors) {
      error.field = wan::serve_flag(error.field);
      std::cerr << "wan-serve: " << error.line() << "\n";
    }
    return 2;
  } catch (const std::bad_alloc&) {
    std::cerr << "wan-serve: [memory] ran out\n";
  } catch (const std::exception& error) {
    std::cerr << "wan-serve: " << error.what() << "\n";
  }
  return 1;
}
