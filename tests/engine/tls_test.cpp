// Certificates: the server is the openssl program, with a certificate that nobody vouches for.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/fetch/download.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"
#include "tests/support/web_server.h"

namespace wan {
namespace {

/// Serves the files of a folder by https, with a certificate for localhost.
class TlsServer {
 public:
  explicit TlsServer(const TemporaryFolder& folder) : folder_(folder.path()) {
    const std::string made = "cd '" + folder_ + "' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 " +
                             "-nodes -days 2 -keyout key.pem -out host.pem -subj /CN=localhost " +
                             "-addext subjectAltName=DNS:localhost >/dev/null 2>&1";
    if (std::system(made.c_str()) != 0) throw std::runtime_error("no certificate");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    process_ = fork();
    if (process_ == 0) serve(ends[1]);
    close(ends[1]);
    FILE* said = fdopen(ends[0], "r");
    char line[256];
    while (port_.empty() && std::fgets(line, sizeof line, said))
      if (const std::string text = line; text.starts_with("ACCEPT "))
        port_ = std::to_string(std::stoi(text.substr(text.rfind(':') + 1)));
    said_ = said;
  }
  ~TlsServer() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    std::fclose(said_);
  }
  TlsServer(const TlsServer&) = delete;

  std::string url(const std::string& host, const std::string& path) const {
    return "https://" + host + ":" + port_ + path;
  }

 private:
  [[noreturn]] void serve(int out) const {
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    if (chdir(folder_.c_str()) == 0)
      execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "host.pem", "-key", "key.pem",
             "-HTTP", nullptr);
    _exit(1);
  }

  std::string folder_, port_;
  pid_t process_ = -1;
  FILE* said_ = nullptr;
};

/// The content, or what is wrong.
std::string get(const std::string& url) {
  const TemporaryFolder folder;
  Silent silent;
  try {
    AtomicFile file(folder / "copy");
    download(url, "video_url", file, DownloadLimits{}, silent);
    return bytes_of(file.part());
  } catch (const InvalidRequest& invalid) {
    return invalid.errors.at(0).wrong.substr(invalid.errors.at(0).wrong.find("': ") + 3);
  }
}

/// The environment names this file of trusted certificates.
struct Trusted {
  explicit Trusted(const std::string& file) {
    if (const char* other = std::getenv("SSL_CERT_FILE")) before = other;
    setenv("SSL_CERT_FILE", file.c_str(), 1);
  }
  ~Trusted() { before.empty() ? unsetenv("SSL_CERT_FILE") : setenv("SSL_CERT_FILE", before.c_str(), 1); }
  std::string before;
};

TEST(DownloadByTls, OnlyFromServersThatAreVouchedFor) {
  const TemporaryFolder folder;
  write_bytes(folder / "file", "HTTP/1.0 200 OK\r\n\r\na file");
  const TlsServer server(folder);
  const std::string way = "; SSL_CERT_FILE=FILE names certificates to trust, or download it yourself and give the file";
  EXPECT_EQ(get(server.url("localhost", "/file")),
            "the certificate of 'localhost' cannot be trusted: nobody but the server itself vouches for it" + way);
  {
    const Trusted trusted(folder / "host.pem");
    EXPECT_EQ(get(server.url("localhost", "/file")), "a file");
    EXPECT_EQ(get(server.url("127.0.0.1", "/file")),
              "the certificate of '127.0.0.1' cannot be trusted: it is another host's" + way);
  }
  const Trusted trusted(folder / "absent.pem");
  EXPECT_EQ(get(server.url("localhost", "/file")),
            "the file of trusted certificates cannot be read; SSL_CERT_FILE names it");
}

TEST(DownloadByTls, NeverFromHttpsToHttp) {
  const WebServer clear([](WebClient& client) { client.answer("200 OK", "", "in the clear"); });
  const TemporaryFolder folder;
  const TlsServer server(folder);
  const auto moved = [](const std::string& to) { return "HTTP/1.0 302 Found\r\nLocation: " + to + "\r\n\r\n"; };
  write_bytes(folder / "file", "HTTP/1.0 200 OK\r\n\r\na file");
  write_bytes(folder / "clear", moved(clear.url("/x?token=secret")));
  write_bytes(folder / "here", moved("/file"));
  const WebServer to_secure([&](WebClient& client) {
    client.answer("301 Moved", "Location: " + server.url("localhost", "/file") + "\r\n", "");
  });
  const Trusted trusted(folder / "host.pem");
  EXPECT_EQ(get(server.url("localhost", "/clear")),
            "it redirects from https to '" + clear.url("/x") +
                "', where others could change it; to take it from there, give that URL");
  EXPECT_EQ(clear.requests(), 0);
  EXPECT_EQ(get(server.url("localhost", "/here")), "a file");
  EXPECT_EQ(get(to_secure.url("/")), "a file");
}

TEST(DownloadByTls, ServersThatSpeakNoTls) {
  const WebServer clear([](WebClient& client) { client.answer("200 OK", "", "in the clear"); });
  EXPECT_EQ(get("https" + clear.url("/x").substr(4)),
            "no secure connection can be made; the server may not speak https");
}

}  // namespace
}  // namespace wan
