#include "modules/shared/bind.h"

#include <string>

#include "engine/process/transparent.h"

namespace weir::shared {

void read_bind(conf::Compiler& compiler, const conf::Statement& at, net::BindRule& bind) {
  bind = {};
  if (at.argument_count() == 1 && at.argument(0) == "off") return;
  const conf::Template text = compiler.make_template(at, at.words[1]);
  if (text.is_literal()) {
    const auto address = net::Address::parse_local(text.literal_text());
    if (!address) {
      return compiler.error(at, "invalid address \"" + std::string(at.argument(0)) + "\"", {},
                            &at.words[1]);
    }
    bind.address = *address;
  } else {
    bind.template_ = text;
  }
  if (at.argument_count() == 2) {
    if (at.argument(1) != "transparent") return compiler.invalid_parameter(at, at.words[2]);
    bind.transparent = true;
    compiler.state<process::TransparentUse>().any = true;
  }
  bind.enabled = true;
}

}  // namespace weir::shared
