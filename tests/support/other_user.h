// Runs a piece of a test as a user who may not read everything: tests often run as root.
#pragma once

#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <string>

namespace wan {

/// What `work` returns where rights of files count: in this process, or as root in a child without root's rights. Nothing
/// where a child cannot give them up. `work` throws nothing.
inline std::optional<std::string> as_other_user(const std::function<std::string()>& work) {
  if (geteuid() != 0) return work();
  constexpr uid_t kNobody = 65534;
  int ends[2];
  if (pipe(ends) != 0) return std::nullopt;
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    if (setgroups(0, nullptr) != 0 || setegid(kNobody) != 0 || seteuid(kNobody) != 0) _exit(1);
    const std::string text = work();
    const bool written = write(ends[1], text.data(), text.size()) == ssize_t(text.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; child > 0 && (got = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, size_t(got));
  close(ends[0]);
  int status = 1;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return std::nullopt;
  return text;
}

}  // namespace wan
