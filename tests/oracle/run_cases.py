"""Whole runs, text, image and video to video, each with every solver."""
import numpy as np
from PIL import Image

import pipelines
from checkpoints import FOLDERS
from golden import three
from inputs import picture
from texts import PARTS

MEANING = {
    'noise': '[16,T,h,w] initial noise (torch CPU generator with the seed at the top of this file, float32)',
    'context': '[n,text_dim] T5 output of the prompt', 'context_null': '[n,text_dim] T5 output of the negative prompt',
    'timesteps': '[steps] timestep given to the DiT and the solver', 'sigmas': '[total_steps+1] solver table',
    'expert_is_high': '[steps] 1 = high_noise_model, 0 = low_noise_model',
    'noise_pred_cond': '[steps,16,T,h,w] DiT output with the prompt',
    'noise_pred_uncond': '[steps,16,T,h,w] DiT output with the negative prompt',
    'noise_pred': '[steps,16,T,h,w] after guidance: uncond + g*(cond-uncond)',
    'latents': '[steps+1,16,T,h,w] latent before each step, then the final one',
    'video': '[3,F,H,W] decoded, clamped to [-1,1]',
    'image_u8': '[h,w,3] uint8 RGB source image (also stored as <case>_input.png)',
    'image_normalised_resized': '[3,H,W] (u8/255-0.5)/0.5 then bicubic resize, not clamped',
    'cond_latent': '[16,T,h,w] normalised VAE latent of [image, zeros...]',
    'y': '[20,T,h,w] = mask (4 channels) then cond_latent',
    'video_in_u8': '[3,F,H,W] uint8 input video; x = float(u8)/255*2-1',
    'init_latent': '[16,T,h,w] VAE encoding (normalised) of the input video'}


def image_size(r):
    """An image and an area whose output is small, and not square."""
    while True:
        image, area = [r.randint(40, 130), r.randint(40, 130)], r.choice([1024, 1536, 2048])
        size = list(pipelines.i2v_size(*image, area))
        if min(size) >= 16 and max(size) <= 64 and size[0] != size[1]:
            return {'image_w_h': image, 'max_area': area, 'size_w_h': size}


def settings(r, task, solver):
    case = {'case': f"e2e_{task}_{solver.replace('++', 'pp')}", 'checkpoint': FOLDERS['i2v' if task == 'i2v' else 't2v'], 'task': task,
            'solver': solver, 'steps': r.randint(4, 6), 'shift': r.choice([3.0, 5.0, 8.0, 12.0]),
            'guide_scale_low_high': [r.choice([1.5, 2.5, 3.0, 3.5]), r.choice([2.0, 3.5, 4.0, 5.0])],
            'boundary': 0.9 if task == 'i2v' else 0.875}
    if (task, solver) == ('i2v', 'dpm++'):
        case.update(steps=4, shift=3.0)      # one timestep is 900, exactly at the boundary
    case.update(image_size(r) if task == 'i2v' else {'size_w_h': r.choice([[48, 32], [32, 48]])})
    case.update(frame_num={'unipc': 9, 'dpm++': 1, 'euler': 5}[solver] if task == 't2v' else 5, seed=r.randint(0, 2 ** 31),
                prompt=' '.join(r.choice(PARTS[k]) for k in 'abc') + r.choice(PARTS['d']),
                negative_prompt=r.choice([pipelines.DEFAULT_NEGATIVE, 'blurry, low quality', '模糊，低质量']))
    if task == 'v2v':
        case['strength'] = r.choice([0.3, 0.5, 0.6, 0.75, 0.9])
        kept = min(int(case['steps'] * case['strength']), case['steps'])
        case.update(t_start=case['steps'] - kept, kept_steps=kept)
    return case


def make(folder, models, r, g):
    for task in ('t2v', 'i2v', 'v2v'):
        for solver in ('unipc', 'dpm++', 'euler'):
            case = settings(r, task, solver)
            m, given = models['i2v' if task == 'i2v' else 't2v'], {}
            if task == 'i2v':
                given['image_u8'] = picture(g, 1, *case['image_w_h'][::-1])[:, 0].permute(1, 2, 0).contiguous()
                Image.fromarray(np.asarray(given['image_u8'])).save(folder.file(case['case'] + '_input.png'))
            elif task == 'v2v':
                given['video_in_u8'] = picture(g, case['frame_num'], *case['size_w_h'][::-1])
            got = three(lambda run: pipelines.run(m[run], case, given))
            case['prompt_ids'], case['negative_ids'] = (m['f32'].prompts.ids(case[k]) for k in ('prompt', 'negative_prompt'))
            case['video_clamped_fraction'] = (got['f32']['video'].abs() == 1).float().mean().item()
            if task == 'v2v':
                case['sigma_start'] = got['f32']['sigmas'][case['t_start']].item()
            folder.save(case, given, got, MEANING.get)
