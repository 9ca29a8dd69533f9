"""Cases of speech to video: sound to features, the transformer's parts, and the chain of clips."""
import numpy as np
import torch
from PIL import Image

import s2v_dit
import s2v_pipeline
import texts
import wav2vec2
from checkpoints import FOLDERS, WAV2VEC_FOLDER
from golden import RUNS, three
from inputs import glide, picture, write_wav

CHECKPOINT = 'checkpoints/' + FOLDERS['s2v']
LATENT = (2, 8, 16)  # frames, rows, columns: multiples of 8, because the coarsest motion tokens cover 8 x 8
# What is stored on the way of a call without motion tokens and of one with them.
FIRST_CLIP = ('tokens_in', 'rope_pos', 'inject0', 'last')
LATER_CLIP = ('tokens_in', 'rope_pos', 'time_mod', 'head_time', 'audio_tokens', 'audio_global', 'text_ctx_head', 'block0', 'adain0', 'inject0',
              'after0', 'adain2', 'inject2', 'last')
NEGATIVE = '画面模糊，最差质量，手快速抖动，字幕，静止不动的画面，倒着走'


def checkpoints(folder):
    """The checkpoint three times, as golden.models."""
    return {run: s2v_pipeline.Checkpoint(folder, torch.float64 if run == 'f64' else torch.float32, run == 'bf16') for run in RUNS}


def sound(folder, ck, g, name, seconds, rate, channels, floating=False):
    """A wav file, its 16 kHz samples, and all that wav2vec2 makes of them."""
    write_wav(folder.file(name + '.wav'), glide(g, seconds, rate, channels), rate, floating)
    wave = wav2vec2.load_wav_16k(folder.file(name + '.wav'))
    buckets = {'fps16_b80': (16, 80), 'fps16_b8': (16, 8), 'fps24_b48': (24, 48), 'fps30_b40': (30, 40)}
    feat_frames = wav2vec2.to_30fps(torch.zeros(1, (len(wave) - 400) // 320 + 1, 1)).shape[1]
    index = {k: wav2vec2.bucket(feat_frames, *v) for k, v in buckets.items()}
    some = [0, 1, 12, 23, 24]

    def run(which):
        x = wav2vec2.normalise(wave.to(ck[which].dtype))[None]
        got = ck[which].wav2vec(x)
        states = got.pop('hidden_states')
        feat = wav2vec2.to_30fps(states)
        return {**got, 'input_values': x, 'hidden_states_some': states[some], 'feat_30fps': feat,
                'audio_embed.fps16_b8': wav2vec2.embed(feat, index['fps16_b8'][1])}

    given = {'waveform_16k': wave, **{f'bucket_index.{k}': v for k, (_, v) in index.items()}}
    folder.save({'case': name, 'checkpoint': f'{CHECKPOINT}/{WAV2VEC_FOLDER}', 'wav': name + '.wav', 'sample_rate': rate, 'channels': channels,
                 'resampler': 'channel mean in float32, then soxr HQ', 'frames_16k': len(wave), 'feat_50fps_frames': (len(wave) - 400) // 320 + 1,
                 'feat_30fps_frames': feat_frames, 'hidden_states_some_index': some,
                 'buckets': {k: {'num_repeat': n, 'frames': len(v)} for k, (n, v) in index.items()}},
                given, {k: run(k) for k in ('f32', 'f64')},
                lambda k: {'waveform_16k': 'mono samples at 16 kHz', 'input_values': 'normalised over the whole sound',
                           'layer24_unnormalised': '[T,C] before the final LayerNorm: not what the transformer gets',
                           'feat_30fps': '[25,T,C] all hidden states at 30 a second'}.get(k, k.split('.')[0].replace('_', ' ')))


def resampling(folder, g, name, rate, channels, floating=False):
    write_wav(folder.file(name + '.wav'), glide(g, 0.3, rate, channels), rate, floating)
    wave = wav2vec2.load_wav_16k(folder.file(name + '.wav'))
    folder.save({'case': name, 'wav': name + '.wav', 'sample_rate': rate, 'channels': channels, 'frames_16k': len(wave),
                 'resampler': 'channel mean in float32, then soxr HQ'}, {'waveform_16k': wave}, None, lambda k: 'mono samples at 16 kHz')


def bucket_table(folder):
    rows, flat = [], []
    for n30 in (38, 92, 93, 150, 187, 300):  # 150 at 16 fps and 80 frames: the sound fills its clip exactly
        for fps, batch in ((4, 8), (12, 40), (16, 8), (16, 80), (20, 60), (24, 48), (25, 100), (30, 40)):
            repeat, index = wav2vec2.bucket(n30, fps, batch)
            rows.append({'key': f'n{n30}_fps{fps}_b{batch}', 'n_30fps': n30, 'fps': fps, 'batch_frames': batch, 'num_repeat': repeat,
                         'offset': sum(map(len, flat)), 'length': len(index)})
            flat.append(index)
    folder.save({'case': 'wav2vec_bucket_table', 'rows': rows}, {'index': torch.cat(flat).short()}, None,
                lambda k: 'feature index of every frame, row after row; -1: zeros')


def tables(folder):
    rows = [{'patch_rows': n, 'index_2x': s2v_dit.spread(n, n // 2).tolist(), 'index_4x': s2v_dit.spread(n, n // 4).tolist()}
            for n in range(4, 84, 4)]
    folder.save({'case': 's2v_rope_index', 'rows': rows})
    rows = []
    for h, w in ((480, 832), (832, 480), (1080, 1920), (512, 512), (100, 150), (700, 701), (64, 2000), (1333, 1000), (333, 97)):
        for area in (480 * 832, 1024 * 704, 720 * 1280, 4096):
            size = s2v_pipeline.video_size(h, w, area)
            if min(size) > 0:
                rows.append({'h': h, 'w': w, 'max_area': area, 'out_h': size[0], 'out_w': size[1]})
    folder.save({'case': 's2v_size', 'rows': rows})


def audio_tokens(folder, ck, g):
    width = ck['f32'].wav2vec.sd['feature_projection.projection.bias'].numel()
    given = {f'c{i}.in': torch.randn(1, 25, width, n, generator=g) for i, n in enumerate((12, 8))}

    def run(which):
        dit, out = ck[which].dit_model, {}
        with ck[which].rounding():
            for c in ('c0', 'c1'):
                x = given[c + '.in'][0].to(ck[which].dtype)
                out[c + '.layer_mix'] = dit.audio_mix(x)
                out[c + '.global'], out[c + '.local'] = dit.audio_encode(x)
            glob, local = dit.audio_encode(torch.zeros(25, width, 12, dtype=ck[which].dtype))
        out['zero.global'], out['zero.local'] = glob[s2v_dit.MOTION_LATENTS:], local[s2v_dit.MOTION_LATENTS:]
        return out

    folder.save({'case': 's2v_audio_embed', 'checkpoint': CHECKPOINT}, given, {k: run(k) for k in ('f32', 'f64')},
                lambda k: {'in': '[1,25,C,frames] features of a clip', 'layer_mix': '[C,73+frames]', 'global': '[T,1,dim]', 'local': '[T,5,dim]'}[k[3:] if k[0] == 'c' else k[5:]])


def motion_tokens(folder, ck, g):
    given = {'in': torch.randn(1, 16, s2v_dit.MOTION_LATENTS, *LATENT[1:], generator=g), 'in_short': torch.randn(1, 16, 7, *LATENT[1:], generator=g)}

    def run(which):
        dit = ck[which].dit_model
        x, short = (given[k][0].to(ck[which].dtype) for k in ('in', 'in_short'))
        with ck[which].rounding():
            tokens, pos = dit.motion_tokens(x)
            return {'tokens': tokens, 'rope_pos': pos, 'rope_cos_sin': torch.view_as_real(s2v_dit.rope_factors(pos)).to(ck[which].dtype),
                    'tokens_short': dit.motion_tokens(short)[0]}

    folder.save({'case': 's2v_framepack', 'checkpoint': CHECKPOINT}, given, three(run), lambda k: k.replace('_', ' '))


def transformer(folder, ck, g):
    F, h, w = LATENT
    width = ck['f32'].wav2vec.sd['feature_projection.projection.bias'].numel()
    text = ck['f32'].dit_model.sd['text_embedding.0.weight'].shape[1]
    shapes = {'noise': (16, F, h, w), 'context': (9, text), 'ref_latents': (1, 16, 1, h, w), 'motion_latents': (1, 16, 19, h, w),
              'pose_latents': (1, 16, F, h, w), 'audio_input': (1, 25, width, 4 * F)}
    given = {'in.' + k: torch.randn(s, generator=g) for k, s in shapes.items()}
    mids = {'first': 'out.first.nopose.t937', 'later': 'out.later.pose.t212'}
    outputs = [*mids.values(), 'out.first.pose.t212', 'out.later.nopose.t937', 'out.later.nopose.t937.audio0']

    def run(which):
        i, out = {k[3:]: v.to(ck[which].dtype) for k, v in given.items()}, {}
        for key in outputs:
            _, clip, pose, t, *audio0 = key.split('.')
            mid = {}
            out[key] = ck[which].dit(i['noise'], int(t[1:]), i['context'], i['ref_latents'][0], i['motion_latents'][0],
                                     i['pose_latents'][0] * (pose == 'pose'), i['audio_input'][0] * (not audio0), clip == 'first', mid)
            for group, output in mids.items():
                if output == key:
                    out.update({f'mid.{group}.{k}': v for k, v in mid.items() if k in (FIRST_CLIP if group == 'first' else LATER_CLIP)})
        return out

    folder.save({'case': 's2v_dit', 'checkpoint': CHECKPOINT, 'timesteps': [937, 212], 'mid_runs': {
        k: {'output': v, 'drop_motion_frames': k == 'first', 'pose': '.pose.' in v, 't': int(v.split('.t')[1])} for k, v in mids.items()}},
        given, three(run), lambda k: 'velocity [16,F,h,w]' if k.startswith('out') else k.split('.')[-1].replace('_', ' '))


def chain(folder, ck, g, name, audio, infer_frames, clips, init_first, pose_fps, image_hw):
    """A whole run from given noise; it stores no more than a test needs to find the stage that differs."""
    Image.fromarray(picture(g, 1, *image_hw)[:, 0].permute(1, 2, 0).numpy()).save(folder.file(name + '_ref.png'))
    case = {'case': name, 'checkpoint': CHECKPOINT, 'image': name + '_ref.png', 'image_hw': list(image_hw), 'max_area': 4096,
            'size_hw': list(s2v_pipeline.video_size(*image_hw, 4096)), 'audio': audio, 'prompt': texts.PLAIN[0], 'negative_prompt': NEGATIVE,
            'infer_frames': infer_frames, 'num_clip_arg': clips, 'init_first_frame': init_first, 'pose_source_fps': pose_fps, 'shift': 3.0,
            'guide_scale': 4.5, 'steps': 4, 'solver': 'unipc', 'fps': 16, 'motion_frames': s2v_pipeline.MOTION_FRAMES}
    H, W = case['size_hw']
    given = {f'clip{c}.noise': torch.randn(16, infer_frames // 4, H // 8, W // 8, generator=g) for c in range(clips)}
    if pose_fps is not None:
        given['pose_frames_u8'] = picture(g, 25, 36, 28).permute(1, 2, 3, 0).contiguous()
    got = three(lambda run: s2v_pipeline.run(ck[run], case, folder.path, given))
    case['num_clips'] = got['f32'].pop('num_clips')
    dropped = [k for k in got['f32'] if k.endswith('.frames') or '.pred_' in k and not k.endswith('.step0')]
    for k in dropped:
        del got['f32'][k]
    case['prompt_ids'], case['negative_prompt_ids'] = (ck['f32'].prompts.ids(case[k]) for k in ('prompt', 'negative_prompt'))
    folder.save(case, given, got, lambda k: {'video_u8': '[N,H,W,3] the frames as they are encoded, truncated to bytes',
                                             'ref_pixels_u8': '[H,W,3] the image resized and cropped',
                                             'pose_frames_u8': '[N,h,w,3] the pose video before frames are taken out'}.get(k, k.split('.')[-1].replace('_', ' ')))


def make(folder, path, g):
    ck = checkpoints(path)
    sound(folder, ck, g, 'wav2vec_glide', 0.9, 22050, 2)
    resampling(folder, g, 'wav2vec_rs_48k_mono', 48000, 1)
    resampling(folder, g, 'wav2vec_rs_8k_float_stereo', 8000, 2, floating=True)
    bucket_table(folder)
    tables(folder)
    audio_tokens(folder, ck, g)
    motion_tokens(folder, ck, g)
    transformer(folder, ck, g)
    chain(folder, ck, g, 'e2e_s2v_pose', 'wav2vec_glide.wav', 8, 2, False, 30.0, (70, 66))
    chain(folder, ck, g, 'e2e_s2v_init_first', 'wav2vec_glide.wav', 8, 1, True, None, (60, 97))
