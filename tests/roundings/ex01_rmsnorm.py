"""Other correct ways to compute the reference of ex01_rmsnorm, which round differently.

The weight may come before or after the cast back, in its own dtype or in x's; and x may be widened
once or twice, in which case its gradients add up in its own dtype. Gradients by hand may follow the
formula to the letter or go through each vector's Jacobian.
"""

import torch


class weight_after_the_cast_back:
    """the normalised vector is rounded to x's dtype, then multiplied by the weight and rounded"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = x.to(_working_dtype(x))
            unit = (wide / _root_mean_square(wide, self.eps)).to(x.dtype)
            return (unit * self.weight).to(x.dtype)

    def rms_norm_backward(grad_output, x, weight, eps):
        dtype = _working_dtype(x)
        wide, grad, w = x.to(dtype), grad_output.to(dtype), weight.to(dtype)
        root = _root_mean_square(wide, eps)
        along = (w * grad * wide).sum(-1, keepdim=True) / (x.shape[-1] * root**2)
        grad_x = (w * grad - wide * along) / root
        grad_weight = grad * wide / root
        while grad_weight.dim() > 1:
            grad_weight = grad_weight.sum(0)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype)


class weight_in_the_dtype_of_x:
    """the same with a rounded weight; the root is made from the Euclidean length, by powers"""

    def _root_mean_square(wide, eps):
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        return 1 / (length**2 / wide.shape[-1] + eps) ** -0.5

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = x.to(_working_dtype(x))
            unit = (wide / _root_mean_square(wide, self.eps)).to(x.dtype)
            return unit * self.weight.to(x.dtype)

    def rms_norm_backward(grad_output, x, weight, eps):
        dtype, dim = _working_dtype(x), x.shape[-1]
        rows, grad = x.reshape(-1, dim).to(dtype), grad_output.reshape(-1, dim).to(dtype)
        inverse = 1 / _root_mean_square(rows, eps)
        scaled = grad * weight.to(dtype)
        along = torch.einsum("nd,nd->n", scaled, rows)[:, None] * inverse**3 / dim
        grad_x = (scaled * inverse - rows * along).reshape(x.shape)
        grad_weight = torch.einsum("nd,nd,n->d", grad, rows, inverse[:, 0])
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype)


class widened_twice:
    """x is widened once for the root and once for the quotient, as far as can be"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            root = _root_mean_square(x.double(), self.eps)
            return (x.double() / root * self.weight).to(x.dtype)

    def rms_norm_backward(grad_output, x, weight, eps):
        dtype = _working_dtype(x)
        wide, grad, w = x.to(dtype), grad_output.to(dtype), weight.to(dtype)
        root = _root_mean_square(wide, eps)
        eye = torch.eye(x.shape[-1], dtype=dtype, device=x.device)
        outer = wide[..., :, None] * wide[..., None, :]
        jacobian = (eye - outer / (x.shape[-1] * root**2)[..., None]) / root[..., None]
        grad_x = (jacobian @ (w * grad)[..., None])[..., 0]
        grad_weight = (grad * wide / root).reshape(-1, x.shape[-1]).sum(0)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype)


class widened_twice_and_weight_in_the_dtype_of_x:
    """both of these, and a product with 1 / root instead of a quotient"""

    def _root_mean_square(wide, eps):
        length = wide.square().sum(-1, keepdim=True).sqrt() / wide.shape[-1] ** 0.5
        return 1 / torch.rsqrt(length * length + eps)

    class RMSNorm(RMSNorm):
        def forward(self, x):
            inverse = 1 / _root_mean_square(x.to(_working_dtype(x)), self.eps)
            unit = (x.to(_working_dtype(x)) * inverse).to(x.dtype)
            return unit * self.weight.to(x.dtype)
