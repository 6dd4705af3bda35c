"""Backpropagation in float32, with PyTorch: what the engine's numbers, an edit's time and its quality are compared with. It
also has the other solvers, and the key solve, in their plainest form.

  PYTHONPATH=$(scripts/python_packages.sh reference) python3 tests/reference/reference.py MODEL.gguf FACTS.json
      --layer 17 --solver bp|probe|spsa --key mean|cov|contrast --n 20 [--basis N_PROMPTS] [--k 64] [--paced]

Prints one JSON line a case and one with the means. FACTS.json is in CounterFact's schema. Architectures: llama, qwen2, qwen3.
With --paced, it says "ready" once the model is loaded, and each case waits for a line on stdin: whoever compares times lets
nothing else run meanwhile.
"""
import argparse, json, math, os, random, resource, sys, time
import numpy as np, torch, torch.nn.functional as F
from gguf import GGUFReader, dequantize
from transformers import AutoTokenizer

CARRIERS = ["{}", "The following is true. {}", "Today I learned something. {}", "In the news: {}", "It is well known that {}", "Let me tell you a fact. {}"]
NEUTRAL = ["{}", "I know about {}", "The following is about {}", "Let me tell you about {}", "What is {}", "This is {}", "In the article, {}", "According to the report, {}"]


class Model:
    """llama / qwen2 / qwen3 GGUF, dequantised to float32. Shapes: x [batch, tokens, d]."""

    def __init__(s, path):
        r = GGUFReader(path); a = r.fields['general.architecture'].contents()
        f = lambda k, d=None: r.fields[a + '.' + k].contents() if a + '.' + k in r.fields else d
        s.L, s.d, s.nh = f('block_count'), f('embedding_length'), f('attention.head_count')
        s.nkv = f('attention.head_count_kv', s.nh); s.hd = f('attention.key_length', s.d // s.nh)
        s.theta, s.eps, s.neox = f('rope.freq_base', 10000.), f('attention.layer_norm_rms_epsilon'), a != 'llama'
        s.w = {t.name: torch.from_numpy(np.array(dequantize(t.data, t.tensor_type))).reshape(*[int(v) for v in t.shape[::-1]]) for t in r.tensors}
        s.U = s.w.get('output.weight', s.w['token_embd.weight'])
        s.tok = AutoTokenizer.from_pretrained(os.path.dirname(os.path.abspath(path)), gguf_file=os.path.basename(path))

    def enc(s, t): return s.tok(t, add_special_tokens=False).input_ids
    def norm(s, x, w): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + s.eps) * w
    def final(s, x): return s.norm(x, s.w['output_norm.weight']) @ s.U.T

    def angles(s, pos):
        a = pos[..., None].float() * s.theta ** (-torch.arange(0, s.hd, 2).float() / s.hd)
        return a.cos()[..., None, :], a.sin()[..., None, :]

    def rope(s, x, cs):
        c, n = cs
        if s.neox:
            a, b = x.chunk(2, -1); return torch.cat([a * c - b * n, b * c + a * n], -1)
        a, b = x[..., 0::2], x[..., 1::2]; return torch.stack([a * c - b * n, a * n + b * c], -1).flatten(-2)

    def block(s, i, x, cs, past=None, mask=None):
        """one layer; past (k, v) [batch, t, n_kv, hd]; returns x, (k, v) of the new tokens, MLP key a, MLP output m"""
        w, p, (B, T, _) = s.w, f'blk.{i}.', x.shape
        lin = lambda h, n: h @ w[p + n + '.weight'].T + w.get(p + n + '.bias', 0)
        h = s.norm(x, w[p + 'attn_norm.weight'])
        q, k, v = (lin(h, 'attn_' + n).view(B, T, -1, s.hd) for n in 'qkv')
        if p + 'attn_q_norm.weight' in w: q, k = s.norm(q, w[p + 'attn_q_norm.weight']), s.norm(k, w[p + 'attn_k_norm.weight'])
        q, k = s.rope(q, cs), s.rope(k, cs); kv = (k, v)
        if past is not None: k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
        if mask is None: mask = torch.ones(T, k.shape[1], dtype=torch.bool).tril(k.shape[1] - T)
        g = s.nh // s.nkv
        o = F.scaled_dot_product_attention(q.transpose(1, 2), k.repeat_interleave(g, 2).transpose(1, 2), v.repeat_interleave(g, 2).transpose(1, 2), attn_mask=mask)
        x = x + lin(o.transpose(1, 2).reshape(B, T, -1), 'attn_output')
        h = s.norm(x, w[p + 'ffn_norm.weight'])
        a = F.silu(lin(h, 'ffn_gate')) * lin(h, 'ffn_up'); m = lin(a, 'ffn_down')
        return x + m, kv, a, m

    @torch.no_grad()
    def run(s, ids, upto=None, edit=None):
        """ids -> residuals R[i] [t, d], KV, keys A[i], MLP outputs; edit = (layer, left, delta)"""
        x = s.w['token_embd.weight'][torch.tensor(ids)][None]; cs = s.angles(torch.arange(len(ids))[None]); R, KV, A, Mo = [], [], [], []
        for i in range(s.L if upto is None else upto + 1):
            x, kv, a, m = s.block(i, x, cs)
            if edit and i == edit[0]: x = x + (a @ edit[1])[..., None] * edit[2]
            R.append(x[0]); KV.append(kv); A.append(a[0]); Mo.append(m[0])
        return dict(R=R, KV=KV, A=A, M=Mo, x=x[0])


def last_of(M, text, subject_end):
    """index of the last token that lies inside text[:subject_end]"""
    a, b = M.enc(text[:subject_end]), M.enc(text); n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]: n += 1
    return b, n - 1


class Edit:
    """All carriers of one edit with everything that delta cannot change computed once."""

    def __init__(s, M, rewrite, layer, carriers=CARRIERS):
        s.M, s.l = M, layer; subj = rewrite['subject']; s.target = M.enc(' ' + rewrite['target_new']['str']); s.nt = len(s.target)
        s.prompt, s.subject = rewrite['prompt'], subj; seqs = []
        for c in carriers:
            t = c.replace('{}', rewrite['prompt']); end = t.index('{}') + len(subj); ids, p = last_of(M, t.replace('{}', subj), end)
            seqs.append((ids + s.target[:-1], p, len(ids) - 1 - p))
        seqs = [q for q in seqs if q[2] == seqs[0][2]]; s.base = [M.run(q[0]) for q in seqs]; s.p = [q[1] for q in seqs]
        s.q, s.S, s.P = seqs[0][2], len(seqs[0][0]) - seqs[0][1], len(seqs); mp = max(s.p)
        s.cs = M.angles(torch.stack([torch.arange(p, p + s.S) for p in s.p])); pad = lambda t, p: F.pad(t[0, :p], (0, 0, 0, 0, mp - p, 0))
        s.past = [tuple(torch.stack([pad(b['KV'][i][z], p) for b, p in zip(s.base, s.p)]) for z in (0, 1)) for i in range(M.L)]
        s.mask = torch.zeros(s.P, 1, s.S, mp + s.S, dtype=torch.bool); s.mask[..., mp:] = torch.ones(s.S, s.S, dtype=torch.bool).tril()
        for j, p in enumerate(s.p): s.mask[j, 0, :, mp - p:mp] = True
        s.res = torch.stack([b['R'][layer][p:p + s.S] for b, p in zip(s.base, s.p)]); s.v = s.base[0]['M'][layer][s.p[0]].norm()
        s.keys = torch.stack([b['A'][layer][p] for b, p in zip(s.base, s.p)]); s.evals = s.passes = 0
        ids, p = last_of(M, subj + ' is a', len(subj)); s.kl_base, s.kl_p, s.kl_n = M.run(ids), p, len(ids)
        s.kl_ref = torch.log_softmax(M.final(s.kl_base['x'][-1]), -1)

    def hidden(s, D, which=None, chunk=64):
        """deltas D [B, d] -> pre-norm final hidden [B, P, n_target, d]"""
        if len(D) > chunk: return torch.cat([s.hidden(D[i:i + chunk], which) for i in range(0, len(D), chunk)])
        which = list(range(s.P)) if which is None else which; B = len(D); idx = torch.tensor(which).repeat(B)
        x = s.res[which][None].expand(B, -1, -1, -1); x = torch.cat([x[:, :, :1] + D[:, None, None], x[:, :, 1:]], 2).reshape(len(idx), s.S, -1)
        cs = tuple(c[idx] for c in s.cs); s.evals += len(idx); s.passes += len(idx) * s.S
        for i in range(s.l + 1, s.M.L): x = s.M.block(i, x, cs, tuple(z[idx] for z in s.past[i]), s.mask[idx])[0]
        return x[:, s.q:s.q + s.nt].reshape(B, len(which), s.nt, -1)

    def nll(s, h):
        lp = torch.log_softmax(s.M.final(h), -1); t = torch.tensor(s.target)
        return -lp[..., torch.arange(s.nt), t].mean(-1), (lp.argmax(-1) == t).all(-1)

    def kl(s, D):
        x = s.kl_base['R'][s.l][s.kl_p:][None].expand(len(D), -1, -1); x = torch.cat([x[:, :1] + D[:, None], x[:, 1:]], 1); cs = s.M.angles(torch.arange(s.kl_p, s.kl_n)[None])
        for i in range(s.l + 1, s.M.L): x = s.M.block(i, x, cs, tuple(z[:, :s.kl_p].expand(len(D), -1, -1, -1) for z in s.kl_base['KV'][i]))[0]
        lp = torch.log_softmax(s.M.final(x[:, -1]), -1); return (s.kl_ref.exp() * (s.kl_ref - lp)).sum(-1)

    def loss(s, D, wd=1e-3, klf=.0625):
        n = s.nll(s.hidden(D))[0].mean(1); return n + klf * s.kl(D) + wd * D.pow(2).sum(1) / s.v ** 2, n


def clamp(d, m): return d * torch.clamp(m / d.norm(dim=-1, keepdim=True), max=1.)


def bp(e, steps=25, lr=.5, stop=.05):
    d = torch.zeros(1, e.M.d, requires_grad=True); o = torch.optim.Adam([d], lr=lr)
    for i in range(steps):
        o.zero_grad(); L, n = e.loss(d)
        if L.item() < stop: break
        L.sum().backward(); o.step()
        with torch.no_grad(): d.copy_(clamp(d, 4 * e.v))
    return d.detach()[0], dict(steps=i + 1, nll=n.item())


@torch.no_grad()
def spsa(e, steps=600, dirs=5, h=1e-3, lr=5e-2):
    d = torch.zeros(1, e.M.d)
    for i in range(steps):
        V = torch.randn(dirs, e.M.d); L, _ = e.loss(torch.cat([d + h * V, d - h * V]))
        d = clamp(d - lr * .5 * (1 + math.cos(math.pi * i / steps)) * (((L[:dirs] - L[dirs:]) / (2 * h))[:, None] * V).mean(0, keepdim=True), 4 * e.v)
        if i % 20 == 19:
            n, ok = e.nll(e.hidden(d))
            if ok.all(): break
    return d[0], dict(steps=i + 1, nll=n.mean().item())


@torch.no_grad()
def probe(e, V, rounds=6, eps=.5, wd=2e-3, stop=.1, topv=2000):
    """V [k, d] orthonormal probe basis"""
    M, d = e.M, torch.zeros(e.M.d); H = e.hidden(d[None])[0]; f = e.nll(H)[0].mean().item(); R = 1.5 * e.v; tg = torch.tensor(e.target)
    for it in range(rounds):
        Hp = e.hidden(d[None] + eps * e.v * V, [0])[:, 0]; A = (Hp - H[0][None]) / (eps * e.v)                    # [k, nt, d]
        lg = torch.cat([M.final(H).reshape(-1, len(M.U)), M.final(Hp[::max(1, len(Hp) // 64)]).reshape(-1, len(M.U))]).max(0).values
        vs = torch.unique(torch.cat([lg.topk(topv).indices, tg])); ti = torch.searchsorted(vs, tg); Us = M.U[vs]
        for _ in range(3):
            with torch.enable_grad():
                s = torch.zeros(len(V), requires_grad=True); o = torch.optim.LBFGS([s], max_iter=20, line_search_fn='strong_wolfe')
                def closure():
                    o.zero_grad(); h = H + torch.einsum('k,knd->nd', s, A)[None]; lp = torch.log_softmax(M.norm(h, M.w['output_norm.weight']) @ Us.T, -1)
                    L = -lp[..., torch.arange(e.nt), ti].mean() + wd * ((d + s @ V).pow(2).sum() / e.v ** 2) + .5 * F.relu(s.norm() / R - 1) ** 2
                    L.backward(); return L
                o.step(closure); s = s.detach()
            if s.norm() > R: s = s * (R / s.norm())
            al = torch.tensor([1., .5, .25, 1.5]); cand = clamp(d[None] + al[:, None] * (s @ V)[None], 4 * e.v); Hn = e.hidden(cand); n = e.nll(Hn)[0].mean(1); b = n.argmin().item()
            if n[b] < f: d, H, f, R = cand[b], Hn[b], n[b].item(), max(R * (.7 if b == 2 else 1.), al[b] * s.norm()); break
            R = R * .3
        if f < stop: break
    return d, dict(rounds=it + 1, nll=f)


@torch.no_grad()
def pooled_basis(M, facts, layer):
    """principal right-singular directions of finite-difference Jacobians pooled over facts: [d, d], strongest first"""
    C = torch.zeros(M.d, M.d)
    for c in facts:
        e = Edit(M, c['requested_rewrite'], layer, CARRIERS[:1]); h = .05 * e.v
        H = e.hidden(torch.cat([torch.zeros(1, M.d), torch.eye(M.d) * h]))[:, 0, 0]; J = ((H[1:] - H[0]) / h).T; C += J.T @ J / J.norm() ** 2
    return torch.linalg.eigh(C)[1].flip(1).T.contiguous()


def key(e, kind, others, background, lam=.01):
    """left [d_ff] with left.k = 1 on the subject"""
    M, pos = e.M, e.keys; k = pos.mean(0)
    if kind == 'mean': return k / (k @ k)
    bg = torch.cat([M.run(M.enc(t)[:96], e.l)['A'][e.l] for t in background])
    if kind == 'cov':
        s = bg.pow(2).mean() * .1; K = bg / len(bg) ** .5; x = k - K.T @ torch.linalg.solve(K @ K.T + s * torch.eye(len(K)), K @ k); return x / (x @ k)
    at = lambda t, end: M.run(M.enc(t[:end]), e.l)['A'][e.l][-1]
    pos = torch.cat([pos, torch.stack([at(t.replace('{}', e.subject), t.index('{}') + len(e.subject)) for t in NEUTRAL])])
    pre = e.prompt.split('{}')[0]; neg = torch.stack([at(pre + o, None) for o in others])
    K = torch.cat([pos / len(pos) ** .5, neg / len(neg) ** .5, bg / len(bg) ** .5]); y = torch.zeros(len(K)); y[:len(pos)] = len(pos) ** -.5
    left = K.T @ torch.linalg.solve(K @ K.T + lam * bg.pow(2).sum(1).mean() * torch.eye(len(K)), y); return left / (pos @ left).mean()


@torch.no_grad()
def score(M, c, edit):
    """rewrite / paraphrase: the target is the greedy continuation. neighbours: the next greedy token is what it was."""
    t = M.enc(' ' + c['requested_rewrite']['target_new']['str']); rw = c['requested_rewrite']
    def says(p):
        i = M.enc(p); return float((M.final(M.run(i + t[:-1], edit=edit)['x'][len(i) - 1:]).argmax(-1) == torch.tensor(t)).all())
    def same(p):
        i = M.enc(p); a, b = (torch.log_softmax(M.final(M.run(i, edit=z)['x'][-1]), -1) for z in (None, edit)); return float(a.argmax() == b.argmax()), float((a.exp() * (a - b)).sum())
    nb = [same(p) for p in c['neighborhood_prompts']]; pa = [says(p) for p in c['paraphrase_prompts']]
    return dict(rewrite=says(rw['prompt'].replace('{}', rw['subject'])), paraphrase=sum(pa) / len(pa), unchanged=sum(x[0] for x in nb) / len(nb), neighbour_kl=sum(x[1] for x in nb) / len(nb))


def main():
    a = argparse.ArgumentParser(); a.add_argument('model'); a.add_argument('facts'); a.add_argument('--layer', type=int, required=True); a.add_argument('--solver', default='bp'); a.add_argument('--key', default='contrast')
    a.add_argument('--n', type=int, default=20); a.add_argument('--skip', type=int, default=0); a.add_argument('--k', type=int, default=64); a.add_argument('--basis', type=int, default=20); a.add_argument('--background', help='text file, one passage a line'); a.add_argument('--paced', action='store_true'); o = a.parse_args()
    torch.manual_seed(0); torch.set_num_threads(2); M = Model(o.model); facts = json.load(open(o.facts)); rng = random.Random(0); rows = []
    subjects = sorted({c['requested_rewrite']['subject'] for c in facts})
    bg = open(o.background).read().splitlines() if o.background else [p for c in rng.sample(facts, 40) for p in c['neighborhood_prompts'][:1]]
    bases = {}
    if o.paced: print('"ready"', flush=True)
    for c in facts[o.skip:o.skip + o.n]:
        rel = c['requested_rewrite']['relation_id']
        if o.paced and not sys.stdin.readline(): sys.exit('no line for case %s' % c['case_id'])
        if o.solver == 'probe' and rel not in bases: bases[rel] = pooled_basis(M, [x for x in facts if x['requested_rewrite']['relation_id'] != rel][-o.basis:], o.layer)[:o.k]
        t = time.time(); e = Edit(M, c['requested_rewrite'], o.layer)
        d, info = dict(bp=bp, spsa=spsa).get(o.solver, lambda e: probe(e, bases[rel]))(e)
        left = key(e, o.key, [s for s in rng.sample(subjects, 30) if s != e.subject], bg); info['seconds'] = time.time() - t
        row = dict(score(M, c, (o.layer, left, d)), evals=e.evals, passes=e.passes, delta=(d.norm() / e.v).item(), **info); rows.append(row)
        print(json.dumps(dict(case=c['case_id'], **{k: round(v, 3) for k, v in row.items()})), flush=True)
    print(json.dumps(dict(model=os.path.basename(o.model), layer=o.layer, solver=o.solver, key=o.key, cases=len(rows), peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, **{k: round(sum(r[k] for r in rows) / len(rows), 3) for k in rows[0]})))


if __name__ == '__main__': main()
