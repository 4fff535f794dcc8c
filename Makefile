# The only entry for people and CI: one line a target, `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

IMG ?= metallb-operator:0.1.0
NODES ?= 3
LANS ?= 1
IP_FAMILY ?= dual

NODE_INCLUDE = $(firstword $(wildcard node_modules/node/node_modules/node-*/include/node))
CFLAGS = -O2 -g -std=gnu11 -Wall -Wextra -Werror -fPIC

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

node_modules/.installed: package.json package-lock.json tools/dependencies.sh
	@./tools/dependencies.sh
	@touch $@

.PHONY: deps
deps: node_modules/.installed build/packet_socket.node ## Install npm packages and compile the native socket

build/packet_socket.node: $(wildcard packet/native/*.c packet/native/*.h) node_modules/.installed
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -shared -I$(NODE_INCLUDE) $(filter %.c,$^) -o $@

.PHONY: verify
verify: deps ## Types, lint, import arrows, unused code, format, generated files unchanged
	tsc
	eslint --cache --cache-location build/eslint/ .
	depcruise --config .dependency-cruiser.cjs --output-type err api packet kubernetes operator controller speaker tests bench tools
	knip
	prettier --check --cache --cache-location build/prettier .
	node tools/generate.ts --check

.PHONY: fmt
fmt: deps ## Format everything
	prettier --write --cache --cache-location build/prettier .

.PHONY: manifests
manifests: deps ## Generate config/crd and docs/api.md from api/
	node tools/generate.ts

.PHONY: bundle
bundle: manifests ## Generate bundle/ and catalog/ for OLM from api/ and config/

.PHONY: test
test: deps packages ## Run every test there is, or those of one KIND
	@node tests/run.ts $(KIND)

.PHONY: soak
soak: deps packages ## Run what takes hours: PARTS of schedules, dual, ipv4, ipv6; all without
	node tests/soak.ts $(PARTS)

.PHONY: packages
packages:
	@./tools/packages.sh containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins ip:iproute2 nft:nftables \
	  conntrack:conntrack buildah:buildah tshark:tshark arping:iputils-arping ndisc6:ndisc6 curl:curl openssl:openssl tcpdump:tcpdump setpriv:util-linux ethtool:ethtool ping:iputils-ping

.PHONY: image
image: deps ## Build the container image IMG
	@node tools/image.ts $(IMG)

# The operator runs controller and speaker from its own image.
CONFIG ?= config/default
MANIFESTS = kubectl kustomize $(CONFIG) | sed 's|image: metallb-operator:.*|image: $(IMG)|'

.PHONY: deploy undeploy
deploy: ## Install the operator with IMG, by CONFIG, on the cluster of kubectl's current context
	$(MANIFESTS) | kubectl apply --server-side -f -
undeploy: ## Remove the operator and all its objects from that cluster
	$(MANIFESTS) | kubectl delete --ignore-not-found -f -

.PHONY: cluster-up cluster-down cluster-status
cluster-up: deps packages ## Start the test cluster (NODES, IP_FAMILY, LANS)
	@node tests/cluster/cli.ts up --nodes $(NODES) --family $(IP_FAMILY) --lans $(LANS)
cluster-down: node_modules/.installed ## End the test cluster and all it left
	@node tests/cluster/cli.ts down
cluster-status: node_modules/.installed ## Show the test cluster
	@node tests/cluster/cli.ts status

.PHONY: demo
demo: deps packages ## Show it all on a cluster of its own (KEEP=1 leaves it up)
	@node tests/cluster/demo.ts

.PHONY: clean
clean: ## Remove what was built
	rm -rf build

.PHONY: fuzz
fuzz: deps ## Ten million frames against codecs and responder (FRAMES, SEED)
	node tests/fuzz/frames.ts $(if $(FRAMES),--frames $(FRAMES)) $(if $(SEED),--seed $(SEED))

BENCHES = $(patsubst bench/%.ts,bench-%,$(wildcard bench/*.ts))
.PHONY: bench $(BENCHES)
bench: $(BENCHES) ## Run every benchmark; bench-NAME runs one (bench/NAME.ts)
$(BENCHES): bench-%: deps packages
	node bench/$*.ts
