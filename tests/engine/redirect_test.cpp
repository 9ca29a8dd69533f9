// Where a download goes, and what it takes along: redirects, passwords, proxies, private addresses.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstdlib>
#include <cstring>

#include "engine/fetch/public_address.h"
#include "tests/engine/download_support.h"

namespace wan {
namespace {

TEST(Download, RedirectsAreFollowedUnderTheSameRules) {
  const WebServer other(by_path({{"/file", [](WebClient& client) { client.answer("200 OK", "", "other file"); }}}));
  const WebServer server(by_path({
      {"/file", [](WebClient& client) { client.answer("200 OK", "", "a file"); }},
      {"/relative", redirect("file", "307 Temporary")},
      {"/absolute", redirect("/file", "308 Permanent")},
      {"/spaces", redirect("/a b", "303 See Other")},
      {"/a%20b", redirect("/file", "300 Choices")},
      {"/other", redirect(other.url("/file"))},
      {"/gone", redirect(other.url("/gone?token=secret"))},
      {"/loop", redirect("/loop")},
      {"/disk", redirect("file:///etc/passwd")},
      {"/ftp", redirect("ftp://anna:secret@127.0.0.1/x")},
      {"/words", redirect("http://")},
      {"/script", redirect("gopher://127.0.0.1/x")},
  }));
  for (const char* path : {"/relative", "/absolute", "/spaces"})
    EXPECT_EQ(get(server.url(path)).content, "a file") << path;
  EXPECT_EQ(get(server.url("/other")).content, "other file");
  EXPECT_EQ(get(server.url("/gone")).error,
            "it leads to '" + other.url("/gone") + "': the server answers 404 (not found)");
  EXPECT_EQ(get(server.url("/loop")).error, "it redirects more than 3 times");
  EXPECT_EQ(get(server.url("/disk")).error, "it redirects to 'file:///etc/passwd', which is not http or https");
  EXPECT_EQ(get(server.url("/ftp")).error, "it redirects to 'ftp://127.0.0.1/x', which is not http or https");
  EXPECT_EQ(get(server.url("/words")).error, "it redirects to what is not a valid URL");
  EXPECT_EQ(get(server.url("/script")).error, "it redirects to 'gopher://127.0.0.1/x', which is not http or https");
}

// "bmFtZTpwYXNz" is name:pass.
TEST(Download, NameAndPasswordGoToTheirOwnHostAlone) {
  const WebServer other([](WebClient& client) { client.answer("200 OK", "", client.headers); });
  const WebServer server(by_path({
      {"/file", [](WebClient& client) { client.answer("200 OK", "", client.headers); }},
      {"/here", redirect("/file")},
      {"/there", redirect(other.url("/file"))},
      {"/with", redirect(other.url("/file", "eve:eve@"))},
  }));
  for (const char* path : {"/file", "/here"}) {
    const std::string asked = get(server.url(path, "name:pass@")).content;
    EXPECT_NE(asked.find("authorization: basic bmftztpwyxnz"), asked.npos) << asked;
  }
  for (const char* path : {"/there", "/with"}) {
    const std::string asked = get(server.url(path, "name:pass@")).content;
    EXPECT_NE(asked.find("host: 127.0.0.1"), asked.npos) << asked;
    EXPECT_EQ(asked.find("authorization"), asked.npos) << asked;
  }
}

/// 127.0.0.1 with one port alone.
std::function<bool(const sockaddr&)> only_port(int port) {
  return [port](const sockaddr& address) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return address.sa_family == AF_INET && ntohs(v4.sin_port) == port;
  };
}

TEST(Download, AddressesAreCheckedWhereItConnects) {
  const WebServer inside([](WebClient& client) { client.answer("200 OK", "", "a secret"); });
  const WebServer server(by_path({
      {"/file", [](WebClient& client) { client.answer("200 OK", "", "a file"); }},
      {"/inside", redirect(inside.url("/"))},
  }));
  DownloadLimits limits = quick();
  limits.may_connect = only_port(server.port());
  EXPECT_EQ(get(server.url("/file"), limits).content, "a file");
  EXPECT_EQ(get(server.url("/inside"), limits).error,
            "it leads to '" + inside.url("/") +
                "': '127.0.0.1' is in a private or local network; without --no-private-urls it may be asked");
  EXPECT_EQ(inside.requests(), 0);
  setenv("http_proxy", inside.url("").c_str(), 1);
  EXPECT_EQ(get(server.url("/file"), limits).content, "a file") << "without the proxy";
  unsetenv("http_proxy");
}

// However it is written: what counts is where the connection would go.
TEST(Download, NamesOfThisMachine) {
  const WebServer server([](WebClient& client) { client.answer("200 OK", "", "a secret"); });
  DownloadLimits limits = quick();
  limits.may_connect = is_public_address;
  for (const char* host : {"localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::1]",
                           "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]"}) {
    const std::string error =
        get(std::string("http://") + host + ":" + std::to_string(server.port()) + "/", limits).error;
    EXPECT_TRUE(error.ends_with("is in a private or local network; without --no-private-urls it may be asked"))
        << host << ": " << error;
  }
  EXPECT_EQ(server.requests(), 0);
}

bool is_public(const std::string& text) {
  sockaddr_storage place{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(place);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(place);
  place.ss_family = text.find(':') == text.npos ? AF_INET : AF_INET6;
  void* bytes = place.ss_family == AF_INET ? static_cast<void*>(&v4.sin_addr) : &v6.sin6_addr;
  EXPECT_EQ(inet_pton(place.ss_family, text.c_str(), bytes), 1) << text;
  return is_public_address(reinterpret_cast<const sockaddr&>(place));
}

TEST(PublicAddress, ByNetwork) {
  for (const char* address : {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255",
                              "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255", "169.253.0.1",
                              "2606:4700::1111", "2a00::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::"})
    EXPECT_TRUE(is_public(address)) << address;
  for (const char* address : {"0.0.0.0",
                              "0.1.2.3",
                              "10.255.255.255",
                              "100.64.0.1",
                              "100.127.255.255",
                              "100.100.100.200",
                              "127.255.255.255",
                              "169.254.169.254",
                              "172.16.0.0",
                              "172.31.255.255",
                              "192.168.0.1",
                              "198.19.0.1",
                              "224.0.0.1",
                              "239.1.1.1",
                              "255.255.255.255",
                              "168.63.129.16",
                              "::",
                              "::1",
                              "fe80::1",
                              "fec0::1",
                              "fc00::1",
                              "fdff::1",
                              "ff02::1",
                              "::ffff:127.0.0.1",
                              "::ffff:10.0.0.1",
                              "::127.0.0.1",
                              "64:ff9b::10.0.0.1",
                              "64:ff9b:1::1",
                              "2002:7f00:1::",
                              "2002:a00:1::",
                              "2001::1",
                              "2001:db8::1",
                              "100::1"})
    EXPECT_FALSE(is_public(address)) << address;
  const sockaddr other{.sa_family = AF_UNIX, .sa_data = {}};
  EXPECT_FALSE(is_public_address(other));
}

TEST(Download, ProxiesOfTheEnvironment) {
  const WebServer proxy([](WebClient& client) {
    if (client.path.ends_with("/denied")) return client.answer("407 Proxy Authentication Required", "", "");
    client.answer("200 OK", "", client.path + " " + client.headers);
  });
  setenv("http_proxy", proxy.url("", "anna:secret@").c_str(), 1);
  const std::string seen = get("http://nobody.invalid/x").content;
  EXPECT_TRUE(seen.starts_with("http://nobody.invalid/x ")) << seen;
  EXPECT_NE(seen.find("proxy-authorization: basic"), seen.npos) << seen;
  EXPECT_EQ(get("http://nobody.invalid/denied").error,
            "the proxy of the environment answers 407 (name and password wanted)");
  setenv("http_proxy", "http://anna:secret@127.0.0.1:1", 1);
  EXPECT_EQ(get("http://nobody.invalid/x").error,
            "no connection to 'nobody.invalid' at port 80 (Connection refused), or to the proxy of the environment");
  setenv("http_proxy", "http://anna:secret@proxy.invalid:1", 1);
  EXPECT_EQ(get("http://nobody.invalid/x").error, "the proxy of the environment is not known by its name");
  unsetenv("http_proxy");
}

TEST(Download, NoSecretIsInAMessage) {
  const WebServer server([](WebClient& client) { client.answer("404 Not Found", "", "no"); });
  try {
    const TemporaryFolder folder;
    AtomicFile file(folder / "copy");
    Silent silent;
    download(server.url("/x.png?token=secret#secret", "anna:secret@"), "image_url", file, quick(), silent);
    ADD_FAILURE() << "nothing was wrong";
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.what(), "[image_url] must be a URL that can be read, got '" + server.url("/x.png") +
                                  "': the server answers 404 (not found)");
  }
}

TEST(Download, HostsThatAreNotThere) {
  int port;
  {
    const WebServer gone([](WebClient&) {});
    port = gone.port();
  }
  const std::string at = std::to_string(port);
  EXPECT_EQ(get("http://127.0.0.1:" + at + "/").error,
            "no connection to '127.0.0.1' at port " + at + " (Connection refused)");
  EXPECT_EQ(get("http://nobody.invalid/x").error, "the host 'nobody.invalid' is not known");
  for (const char* url : {"http://", "https://[::1", "http://a b/"})
    EXPECT_EQ(get(url).error, "it is not a valid URL") << url;
}

}  // namespace
}  // namespace wan
